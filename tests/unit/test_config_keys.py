"""Keys of a configuration that are unknown or mistyped, and how their errors name them."""

import dataclasses
import pickle
import re
from typing import get_type_hints

import pytest

from diffrop.config import (
    ExperimentConfig,
)
from diffrop.console.typed import setting
from diffrop.schema import FieldError, coerce, type_of_key
from diffrop.study.config import StudyConfig
from tests.made.faults import fault

SECTIONS = get_type_hints(ExperimentConfig)


@pytest.mark.parametrize("key", ["training", "training.", "", ".", "training.seed.more"])
def test_key_that_is_no_single_value_is_unknown(key: str) -> None:
    with pytest.raises(ValueError, match="unknown configuration key"):
        ExperimentConfig().with_values({key: {"seed": 1}})


@fault(21, "an unknown key")
@pytest.mark.parametrize("section", SECTIONS)
def test_unknown_key_is_refused_whole_with_the_nearest_ones(section: str) -> None:
    for item in dataclasses.fields(SECTIONS[section]):
        with pytest.raises(ValueError, match="unknown configuration key") as error:
            ExperimentConfig.from_dict({section: {f"{item.name}x": 1}})
        found = str(error.value)
        assert f"'{section}.{item.name}x'; did you mean {section}.{item.name}?" in found


def test_unknown_section_is_refused_with_five_keys_at_most() -> None:
    with pytest.raises(ValueError, match="unknown configuration key 'contrast'; nearest") as error:
        ExperimentConfig.from_dict({"contrast": {}})
    assert "contrastive.tau_0" in str(error.value)
    assert str(error.value).count(", ") == 4


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("contrastive.tau", "contrastive.tau_0"),
        ("training.tau_0", "contrastive.tau_0"),
        ("tau0", "contrastive.tau_0"),
        ("batchsize", "training.batch_size or sampling.batch_size"),
        ("evaluation.num_sample", "evaluation.num_samples"),
    ],
)
def test_mistyped_key_is_told_what_it_may_have_meant(key: str, meant: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"{key!r}; did you mean {meant}?")):
        ExperimentConfig().with_values({key: 1})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model.channel_multipliers", "1,2"),
        ("augmentation.diffaug", "color"),
        ("training.ema_lengths", 0.1),
        ("evaluation.ema_lengths", "none"),
        ("evaluation.metrics", "fid"),
        ("evaluation.guidance_scales", 1),
    ],
)
def test_value_that_is_no_list_is_refused_with_an_example_of_one(key: str, value: object) -> None:
    with pytest.raises(ValueError, match="a list, such as") as error:
        ExperimentConfig().with_values({key: value})
    typed = str(error.value).partition("such as ")[2]
    found_key, found = setting(typed)
    assert found_key == key
    items = coerce(found, type_of_key(ExperimentConfig, key), key)  # its items are of the type
    assert len(items) == 2


def test_error_of_a_field_has_its_whole_key_and_survives_another_process() -> None:
    tau_0 = {"name": "contrastive.tau_0", "low": 1, "high": 2, "source": "x"}
    study = {"name": "s", "space": {"parameters": [tau_0]}}
    cases = [
        (ExperimentConfig, {"training": {"seed": -1}}, "training.seed is -1; allowed: 0 to"),
        (ExperimentConfig, {"training": {"batch_size": 60}}, "training.batch_size is 60; allowed"),
        (StudyConfig, study | {"experiment": {"model": {"dropout": 2}}}, "experiment.model.drop"),
        (StudyConfig, study | {"experiment": {"modl": {}}}, "unknown configuration key 'experim"),
        (StudyConfig, study | {"space": {"parameters": []}}, "space.parameters is ()"),
    ]
    for config, values, start in cases:
        with pytest.raises(FieldError) as error:
            config.from_dict(values)
        assert str(error.value).startswith(start)
        assert str(pickle.loads(pickle.dumps(error.value))) == str(error.value)


@pytest.mark.parametrize(
    "key", ["tau_0", "contrastive.tau", "contrast.tau_0", "contrastive.tau_0.x"]
)
def test_with_values_refuses_unknown_keys(key: str) -> None:
    with pytest.raises(ValueError, match="unknown configuration key") as error:
        ExperimentConfig().with_values({key: 1.0})
    assert repr(key) in str(error.value)
    assert "contrastive.tau_0" in str(error.value)
