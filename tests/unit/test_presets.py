import pytest
import torch

from diffrop.data import Dataset, load_dataset
from diffrop.presets import PRESETS, apply_preset
from diffrop.recipes import RECIPES, recipe
from diffrop.training.network import check_network
from diffrop.training.trainer import Trainer
from tests.made.small import small_experiment


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return load_dataset(small_experiment().data)


@pytest.mark.parametrize("name", RECIPES)
def test_methods_of_a_dataset_are_all_different(name: str) -> None:
    start = recipe(name).experiment
    found = [apply_preset(preset, start) for preset in PRESETS]
    assert all(a != b for i, a in enumerate(found) for b in found[:i])
    for config in found:  # one budget, network, sampler and score for all
        assert config.training == start.training and config.model == start.model
        assert config.sampling == start.sampling and config.evaluation == start.evaluation


@pytest.mark.parametrize("preset", PRESETS)
def test_every_method_trains_on_digits(dataset: Dataset, preset: str) -> None:
    config = apply_preset(preset, small_experiment())
    check_network(config, dataset)
    trainer = Trainer(config, dataset, torch.device("cpu"))
    measured = [trainer.step() for _ in range(3)]
    assert all(torch.isfinite(torch.stack(list(step.values()))).all() for step in measured)
    assert ("loss/pcl" in measured[0]) == ("diffrop" in preset)
    assert ("loss/cbdm" in measured[0]) == ("cbdm" in preset)


def test_diffaug_has_colour_on_colour_images_only() -> None:
    parts = {
        name: apply_preset("diffaug", recipe(name).experiment).augmentation.diffaug
        for name in RECIPES
    }
    for name, found in parts.items():
        assert ("color" in found) == (name not in ("digits", "fashion_mnist"))


def test_unknown_method_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"preset is 'gan'; allowed: ddpm, .*reweighting"):
        apply_preset("gan", small_experiment())
