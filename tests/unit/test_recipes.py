from pathlib import Path

import pytest

import diffrop.recipes
from diffrop.data import DATASETS
from diffrop.recipes import RECIPES, recipe
from tests.made.small import ROOT


def test_every_dataset_has_a_recipe_and_every_recipe_a_dataset() -> None:
    assert list(RECIPES) == list(DATASETS)
    for name in RECIPES:
        assert recipe(name).experiment.data.dataset == name


@pytest.mark.parametrize("name", RECIPES)
def test_shorter_training_keeps_the_shares_of_its_recipe(name: str) -> None:
    whole = recipe(name)
    training, rung = whole.experiment.training, whole.first_rung_images
    for parts in (2, 10, 1_000):
        found = whole.for_images(training.num_images // parts)
        shorter = found.experiment.training
        assert shorter.num_images == training.num_images // parts
        assert shorter.warmup_images < shorter.num_images
        for own, of_whole in (
            (shorter.warmup_images, training.warmup_images),
            (shorter.log_every_images, training.log_every_images),
            (found.first_rung_images, rung),
        ):
            assert own == pytest.approx(of_whole / parts, abs=1)
        assert shorter.grad_ratio_every_steps >= 1
    assert whole.for_images(training.num_images * 2) == whole


def test_unknown_dataset_is_refused_with_the_known_ones() -> None:
    known = r"dataset is 'mnist'; allowed: digits, .*image_folder\. A recipe is added in (\S+),"
    with pytest.raises(ValueError, match=known) as error:
        recipe("mnist")
    named = str(error.value).partition("added in ")[2].partition(",")[0]
    assert Path(named).resolve() == Path(diffrop.recipes.__file__).resolve()


@pytest.mark.parametrize("name", RECIPES)
def test_table_of_the_concepts_gives_a_recipes_budget(name: str) -> None:
    page = (ROOT / "docs" / "concepts.md").read_text("utf-8")
    (row,) = (line for line in page.splitlines() if line.startswith("| `") and f"`{name}`" in line)
    found, config = recipe(name), recipe(name).experiment
    assert f"| {found.num_trials}, {config.training.num_images:,} |" in row
    assert f"N = {config.evaluation.num_samples:,}, " in row
    assert ("mirrored" in row) == config.data.horizontal_flip
    assert ("confirms one leader with four seeds" in row) == (found.confirm > 0)
    assert found.confirm == 0 or (found.confirm, found.confirm_seeds) == (1, 4)
