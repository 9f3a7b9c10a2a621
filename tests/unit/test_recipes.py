from pathlib import Path

import pytest

import diffrop.recipes
from diffrop.data import DATASETS
from diffrop.recipes import RECIPES, recipe


def test_every_dataset_has_a_recipe_and_every_recipe_a_dataset() -> None:
    assert list(RECIPES) == list(DATASETS)
    for name in RECIPES:
        assert recipe(name).experiment.data.dataset == name


def test_unknown_dataset_is_refused_with_the_known_ones() -> None:
    known = r"dataset is 'mnist'; allowed: digits, .*image_folder\. A recipe is added in (\S+),"
    with pytest.raises(ValueError, match=known) as error:
        recipe("mnist")
    named = str(error.value).partition("added in ")[2].partition(",")[0]
    assert Path(named).resolve() == Path(diffrop.recipes.__file__).resolve()
