import pytest

from diffrop.data import DATASETS
from diffrop.recipes import RECIPES, recipe


def test_every_dataset_has_a_recipe_and_every_recipe_a_dataset() -> None:
    assert list(RECIPES) == list(DATASETS)
    for name in RECIPES:
        assert recipe(name).experiment.data.dataset == name


def test_unknown_dataset_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"dataset is 'mnist'; allowed: digits, .*image_folder"):
        recipe("mnist")
