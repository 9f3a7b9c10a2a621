import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml

from diffrop.config import DataConfig, ExperimentConfig, ModelConfig
from diffrop.schema import flatten, set_key
from diffrop.yaml_text import load_yaml

CHANGED = {
    "data": {"dataset": "cifar10", "imbalance_factor": None, "horizontal_flip": True},
    "augmentation": {"diffaug": ["cutout", "color"], "conditional_probability": 0.12},
    "model": {"channel_multipliers": [1, 2], "attention_resolutions": [8, 4], "dropout": 0.0},
    "diffusion": {"timesteps": "batch", "beta_start": 2e-05, "label_dropout_unit": "batch"},
    "objective": {"loss": "cbdm", "cbdm_labels": "uniform", "cbdm_tau": 0.5},
    "contrastive": {"form": "hinge", "margin_rule": "quantile", "margin": 0.25},
    "training": {"batch_size": 24, "learning_rate": 1e-05, "precision": "bf16"},
    "sampling": {"sampler": "ancestral", "num_steps": 7},
    "evaluation": {"guidance_scales": [0.0, 3.5], "objectives": ["fid/few"]},
}


def test_configs_cannot_be_changed_and_take_keywords_only() -> None:
    config = ExperimentConfig()
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.training.batch_size = 8
    with pytest.raises(TypeError):
        DataConfig("digits")
    with pytest.raises(ValueError, match="tau_0 is -1"):
        dataclasses.replace(config.contrastive, tau_0=-1)


@pytest.mark.parametrize("values", [{}, CHANGED])
def test_round_trip_through_plain_data_is_exact(values: dict[str, Any]) -> None:
    config = ExperimentConfig.from_dict(values)
    assert ExperimentConfig.from_dict(config.to_dict()) == config
    for section, changed in values.items():
        for field, value in changed.items():
            assert config.to_dict()[section][field] == value


@pytest.mark.parametrize("values", [{}, CHANGED])
def test_round_trip_through_yaml_is_exact(values: dict[str, Any], tmp_path: Path) -> None:
    config = ExperimentConfig.from_dict(values)
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config.to_dict()), encoding="utf-8")
    assert ExperimentConfig.from_dict(load_yaml(path)) == config


def test_plain_data_holds_only_what_yaml_can() -> None:
    def check(value: Any) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                assert type(key) is str
                check(inner)
        elif isinstance(value, list):
            for inner in value:
                check(inner)
        else:
            assert value is None or type(value) in (int, float, str, bool)

    check(ExperimentConfig().to_dict())


@pytest.mark.parametrize(
    ("text", "expected"), [("1e-4", 1e-4), ("2e-05", 2e-5), ("3E-4", 3e-4), ("1", 1.0)]
)
def test_yaml_numbers_without_a_dot_pass_as_floats(
    text: str, expected: float, tmp_path: Path
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(f"training: {{learning_rate: {text}}}\n", encoding="utf-8")
    learning_rate = ExperimentConfig.from_dict(load_yaml(path)).training.learning_rate
    assert learning_rate == expected
    assert type(learning_rate) is float


def test_yaml_numbers_without_a_dot_pass_in_lists_and_optional_fields() -> None:
    config = ExperimentConfig.from_dict(
        {"evaluation": {"guidance_scales": ["1e-1", 2]}, "data": {"imbalance_factor": "1e-2"}}
    )
    assert config.evaluation.guidance_scales == (0.1, 2.0)
    assert config.data.imbalance_factor == 0.01


def test_lists_become_tuples_so_that_configs_can_be_compared() -> None:
    listed = ModelConfig(channel_multipliers=[1, 2, 2, 2])
    assert listed == ModelConfig()
    assert hash(listed) == hash(ModelConfig())


def test_flattened_keys_can_be_set_one_by_one() -> None:
    config = ExperimentConfig()
    values = config.to_dict()
    flat = flatten(values)
    assert flat["contrastive.tau_0"] == 1.0
    sections = [getattr(config, section.name) for section in dataclasses.fields(config)]
    assert len(flat) == sum(len(dataclasses.fields(section)) for section in sections)
    rebuilt = ExperimentConfig.from_dict(CHANGED).to_dict()
    for key, value in flat.items():
        set_key(rebuilt, key, value)
    assert rebuilt == values


@pytest.mark.parametrize("content", [b"a: [1, 2", b"a: b: c", b"\xff\xfe\xfa", b"a:\n\t- 1"])
def test_file_that_is_not_yaml_is_refused_in_one_line(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is not valid YAML") as error:
        load_yaml(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_file_is_refused_with_its_path(tmp_path: Path) -> None:
    path = tmp_path / "missing.yaml"
    for unreadable in (path, tmp_path):
        with pytest.raises(ValueError, match="cannot read") as error:
            load_yaml(unreadable)
        assert str(unreadable) in str(error.value)
