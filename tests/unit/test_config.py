import dataclasses
import itertools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor

from diffrop.config import (
    NEGATIVE_L2_MAX_TAU_0,
    AugmentationConfig,
    ContrastiveConfig,
    DataConfig,
    DiffusionConfig,
    EvaluationConfig,
    ExperimentConfig,
    ModelConfig,
    ObjectiveConfig,
    SamplingConfig,
    TrainingConfig,
)
from diffrop.diffusion.contrastive import ContrastiveLoss
from diffrop.diffusion.schedule import NoiseSchedule
from diffrop.schema import Config, flatten, load_yaml, set_key

SECTIONS: dict[str, type[Config]] = {
    "data": DataConfig,
    "augmentation": AugmentationConfig,
    "model": ModelConfig,
    "diffusion": DiffusionConfig,
    "objective": ObjectiveConfig,
    "contrastive": ContrastiveConfig,
    "training": TrainingConfig,
    "sampling": SamplingConfig,
    "evaluation": EvaluationConfig,
}
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


def refused(values: Mapping[str, Any], *parts: str) -> None:
    """Check that the configuration is refused with a message that holds all parts."""
    with pytest.raises(ValueError, match="allowed: ") as error:
        ExperimentConfig.from_dict(values)
    for part in parts:
        assert part in str(error.value)


def test_defaults_are_a_valid_experiment() -> None:
    assert ExperimentConfig() == ExperimentConfig.from_dict({})
    assert ExperimentConfig(contrastive=ContrastiveConfig()) == ExperimentConfig()


def test_defaults_are_the_setting_of_the_paper() -> None:
    config = ExperimentConfig()
    assert (config.diffusion.num_timesteps, config.training.learning_rate) == (1000, 2e-4)
    assert (config.diffusion.beta_start, config.diffusion.beta_end) == (1e-4, 0.02)
    assert config.training.num_images == 300_000 * config.training.batch_size
    assert config.training.warmup_images == 5000 * config.training.batch_size
    half_life = config.training.ema_half_life_images / config.training.batch_size
    assert 0.5 ** (1 / half_life) == pytest.approx(0.9999, abs=1e-6)


@pytest.mark.parametrize("section", SECTIONS)
def test_unknown_key_is_refused_with_the_known_ones(section: str) -> None:
    names = [item.name for item in dataclasses.fields(SECTIONS[section])]
    refused({section: {"learning_rat": 1}}, "'learning_rat'", section, *names)


def test_unknown_section_is_refused_with_the_known_ones() -> None:
    refused({"contrast": {}}, "'contrast'", "ExperimentConfig", *SECTIONS)


@pytest.mark.parametrize("value", [None, 3, "grouped", [1, 2]])
def test_section_that_is_no_mapping_is_refused(value: Any) -> None:
    refused({"diffusion": value}, "diffusion", repr(value), "DiffusionConfig")


@pytest.mark.parametrize(
    ("section", "field", "value", "allowed"),
    [
        ("training", "batch_size", 64.0, "int"),
        ("training", "batch_size", "64", "int"),
        ("training", "batch_size", True, "int"),
        ("training", "batch_size", None, "int"),
        ("training", "learning_rate", "fast", "a number"),
        ("training", "learning_rate", True, "a number"),
        ("training", "learning_rate", None, "a number"),
        ("training", "learning_rate", [1e-4], "a number"),
        ("training", "compile", 1, "bool"),
        ("training", "compile", "yes", "bool"),
        ("data", "dataset", 7, "str"),
        ("data", "dataset", None, "str"),
        ("data", "root", 7, "str"),
        ("data", "image_size", 32.0, "int"),
        ("data", "imbalance_factor", "even", "a number"),
        ("model", "channel_multipliers", 2, "a list"),
        ("model", "channel_multipliers", "1222", "a list"),
        ("model", "attention_resolutions", {"16": 1}, "a list"),
        ("evaluation", "guidance_scales", 1.0, "a list"),
    ],
)
def test_wrong_type_is_refused(section: str, field: str, value: Any, allowed: str) -> None:
    refused({section: {field: value}}, f"{field} is {value!r}", f"allowed: {allowed}")


@pytest.mark.parametrize(
    ("section", "field", "value", "message"),
    [
        ("model", "channel_multipliers", [1, 2.0], "channel_multipliers[1] is 2.0; allowed: int"),
        ("evaluation", "guidance_scales", [0, "x"], "guidance_scales[1] is 'x'"),
        ("augmentation", "diffaug", ["colour"], "diffaug[0] is 'colour'; allowed: color, tran"),
    ],
)
def test_wrong_type_in_a_list_is_refused_by_position(
    section: str, field: str, value: Any, message: str
) -> None:
    refused({section: {field: value}}, message)


@pytest.mark.parametrize(
    ("section", "field", "allowed"),
    [
        ("data", "class_sampling", ["natural", "sqrt", "uniform"]),
        ("objective", "loss", ["ddpm", "cbdm"]),
        ("objective", "class_weights", ["none", "inverse"]),
        ("objective", "cbdm_labels", ["long_tailed", "uniform"]),
        ("diffusion", "timesteps", ["grouped", "batch", "per_sample"]),
        ("diffusion", "noise", ["own", "shared"]),
        ("diffusion", "label_dropout_unit", ["sample", "batch"]),
        (
            "contrastive",
            "form",
            ["none", "negative_l2", "hinge", "reciprocal", "exponential"],
        ),
        ("contrastive", "tau_schedule", ["exponential", "constant", "linear", "cosine"]),
        ("contrastive", "space", ["mu", "x0", "eps"]),
        ("contrastive", "distance_reduction", ["mean", "sum"]),
        ("contrastive", "pair_reduction", ["mean", "sum"]),
        ("contrastive", "margin_rule", ["oracle", "constant", "quantile"]),
        ("contrastive", "stop_gradient", ["none", "frequent"]),
        ("training", "precision", ["fp32", "tf32", "bf16"]),
        ("sampling", "sampler", ["ddim", "ancestral"]),
        ("evaluation", "omega_search", ["halving", "grid"]),
        ("evaluation", "extractor_precision", ["fp32", "tf32", "bf16"]),
        ("data", "reference", ["train", "heldout"]),
    ],
)
def test_choices_are_accepted_and_anything_else_is_refused(
    section: str, field: str, allowed: list[str]
) -> None:
    for choice in allowed:
        values: dict[str, Any] = {field: choice}
        if choice == "negative_l2":
            values["tau_0"] = 0.1
        config = ExperimentConfig.from_dict({section: values})
        assert getattr(getattr(config, section), field) == choice
    for other in ("Other", None, 1):
        refused({section: {field: other}}, f"{field} is {other!r}", f"{', '.join(allowed)}")


@pytest.mark.parametrize(
    "value",
    [math.nan, math.inf, -math.inf, "nan", "inf", "1e999", pytest.param(10**400, id="10**400")],
)
def test_numbers_must_be_finite(value: float | str) -> None:
    for section, field in [
        ("training", "learning_rate"),
        ("contrastive", "tau_0"),
        ("data", "imbalance_factor"),
    ]:
        refused({section: {field: value}}, field)


def test_list_elements_must_be_finite() -> None:
    refused({"evaluation": {"guidance_scales": [0, math.nan]}}, "guidance_scales[1] is nan")


@pytest.mark.parametrize(
    ("section", "field", "value", "allowed"),
    [
        ("data", "imbalance_factor", 0.0, "0 < factor <= 1"),
        ("data", "imbalance_factor", 1.01, "0 < factor <= 1"),
        ("data", "image_size", 2, "4 to 1024 pixels"),
        ("data", "image_size", 1025, "4 to 1024 pixels"),
        ("augmentation", "diffaug", ("cutout", "cutout"), "each part once"),
        ("augmentation", "conditional_probability", 1.5, "0 to 1"),
        ("objective", "cbdm_tau", -1.0, "0 or more"),
        ("objective", "cbdm_commitment", -0.25, "0 or more"),
        ("model", "base_channels", 0, "a positive multiple of 8"),
        ("model", "base_channels", -8, "a positive multiple of 8"),
        ("model", "base_channels", 12, "a positive multiple of 8"),
        ("model", "channel_multipliers", (), "positive numbers"),
        ("model", "channel_multipliers", (1, 0), "positive numbers"),
        ("model", "num_res_blocks", 0, "at least 1"),
        ("model", "dropout", 1.0, "0 <= dropout < 1"),
        ("model", "dropout", -0.1, "0 <= dropout < 1"),
        ("diffusion", "num_timesteps", 1, "at least 2"),
        ("diffusion", "group_size", 1, "at least 2"),
        ("diffusion", "label_dropout", 1.0, "0 <= rate < 1"),
        ("diffusion", "label_dropout", -0.1, "0 <= rate < 1"),
        ("contrastive", "tau_0", -0.1, "0 or more"),
        ("contrastive", "decay_temperature", 0.0, "more than 0"),
        ("contrastive", "margin", 0.0, "more than 0"),
        ("contrastive", "start_images", -1, "0 or more"),
        ("training", "num_images", 0, "more than 0"),
        ("training", "batch_size", 0, "more than 0"),
        ("training", "learning_rate", 0.0, "more than 0"),
        ("training", "gradient_clip_norm", 0.0, "more than 0"),
        ("training", "ema_half_life_images", 0, "more than 0"),
        ("training", "ema_ramp", 0.0, "more than 0"),
        ("training", "log_every_images", 0, "more than 0"),
        ("training", "grad_ratio_every_steps", 0, "more than 0"),
        ("training", "checkpoint_every_images", 0, "more than 0"),
        ("training", "keep_checkpoints", 0, "more than 0"),
        ("training", "warmup_images", -1, "0 or more"),
        ("training", "seed", -1, "0 to 2^31 - 1"),
        ("training", "seed", 2**31, "0 to 2^31 - 1"),
        ("sampling", "num_steps", 0, "at least"),
        ("sampling", "batch_size", 0, "at least 1"),
        ("evaluation", "num_samples", 1, "at least 2"),
        ("evaluation", "guidance_scales", (), "distinct numbers, 0 or more"),
        ("evaluation", "guidance_scales", (0.5, 0.5), "distinct numbers, 0 or more"),
        ("evaluation", "guidance_scales", (0.0, -0.5), "distinct numbers, 0 or more"),
        ("evaluation", "seed", 2**31, "0 to 2^31 - 1"),
    ],
)
def test_value_out_of_range_is_refused(section: str, field: str, value: Any, allowed: str) -> None:
    refused({section: {field: value}}, f"{field} is {value!r}", f"allowed: {allowed}")
    with pytest.raises(ValueError, match=field):
        SECTIONS[section](**{field: value})


@pytest.mark.parametrize("betas", [(0.0, 0.02), (0.02, 0.01), (1e-4, 1.0), (-1e-4, 0.02)])
def test_betas_must_rise_between_zero_and_one(betas: tuple[float, float]) -> None:
    values = {"beta_start": betas[0], "beta_end": betas[1]}
    refused({"diffusion": values}, "beta_start", "beta_end", str(betas), "0 < start <= end < 1")


def test_quantile_margin_must_be_below_one_for_the_hinge_only() -> None:
    values = {"form": "hinge", "margin_rule": "quantile", "margin": 1.0}
    refused({"contrastive": values}, "margin is 1.0", "0 < quantile < 1")
    ContrastiveConfig(form="hinge", margin_rule="quantile", margin=0.99)
    ContrastiveConfig(form="hinge", margin_rule="oracle", margin=1.0)
    ContrastiveConfig(form="reciprocal", margin_rule="quantile", margin=1.0)


def test_grouped_batch_must_hold_whole_groups() -> None:
    values: dict[str, Any] = {"training": {"batch_size": 60}, "diffusion": {"group_size": 8}}
    refused(values, "batch_size is 60", "a multiple of the timestep group size 8")
    for timesteps in ("batch", "per_sample"):
        values["diffusion"]["timesteps"] = timesteps
        assert ExperimentConfig.from_dict(values).training.batch_size == 60


def test_sampler_takes_at_most_all_timesteps() -> None:
    values = {"sampling": {"num_steps": 51}, "diffusion": {"num_timesteps": 50}}
    refused(values, "sampling.num_steps is 51", "at most num_timesteps = 50")
    values["sampling"]["num_steps"] = 50
    ExperimentConfig.from_dict(values)


def test_contrastive_loss_must_start_before_the_end_of_training() -> None:
    values: dict[str, Any] = {
        "training": {"num_images": 1000},
        "contrastive": {"start_images": 1000},
    }
    refused(values, "start_images is 1000", "less than num_images = 1000")
    values["contrastive"]["form"] = "none"
    ExperimentConfig.from_dict(values)


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


def test_with_values_replaces_dotted_keys_in_a_copy() -> None:
    config = ExperimentConfig()
    changed = config.with_values({"contrastive.tau_0": 3, "model.channel_multipliers": [1, 2]})
    assert changed.contrastive.tau_0 == 3.0
    assert changed.model.channel_multipliers == (1, 2)
    assert config == ExperimentConfig()
    back = changed.with_values(
        {"contrastive.tau_0": 1.0, "model.channel_multipliers": (1, 2, 2, 2)}
    )
    assert back == config


def test_with_values_applies_all_before_it_checks() -> None:
    changed = ExperimentConfig().with_values(
        {"training.batch_size": 60, "diffusion.group_size": 6}
    )
    assert changed.training.batch_size == 60


@pytest.mark.parametrize(
    "key", ["tau_0", "contrastive.tau", "contrast.tau_0", "contrastive.tau_0.x", "", "."]
)
def test_with_values_refuses_unknown_keys(key: str) -> None:
    with pytest.raises(ValueError, match="unknown configuration key") as error:
        ExperimentConfig().with_values({key: 1.0})
    assert repr(key) in str(error.value)
    assert "contrastive.tau_0" in str(error.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"contrastive.tau_0": -1.0}, "tau_0 is -1.0; allowed: 0 or more"),
        ({"contrastive.form": "l2"}, "form is 'l2'"),
        ({"training.batch_size": 60}, "batch_size is 60"),
    ],
)
def test_with_values_refuses_what_does_not_fit(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match="allowed: ") as error:
        ExperimentConfig().with_values(values)
    assert message in str(error.value)


def test_flattened_keys_can_be_set_one_by_one() -> None:
    values = ExperimentConfig().to_dict()
    flat = flatten(values)
    assert flat["contrastive.tau_0"] == 1.0
    assert len(flat) == sum(len(dataclasses.fields(section)) for section in SECTIONS.values())
    rebuilt = ExperimentConfig.from_dict(CHANGED).to_dict()
    for key, value in flat.items():
        set_key(rebuilt, key, value)
    assert rebuilt == values


def test_empty_file_is_refused_as_a_configuration(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("", encoding="utf-8")
    refused(load_yaml(path), "None", "a mapping")


NEGATIVE_L2 = {"form": "negative_l2", "tau_0": NEGATIVE_L2_MAX_TAU_0}


@pytest.mark.parametrize("space", ["x0", "eps"])
@pytest.mark.parametrize(
    "values", [{"tau_0": 0.41}, {"distance_reduction": "sum"}, {"variance_scale": True}]
)
def test_unbounded_negative_l2_is_refused(space: str, values: dict[str, Any]) -> None:
    setting = NEGATIVE_L2 | {"space": space} | values
    refused(
        {"contrastive": setting},
        f"tau_0 of negative_l2 in {space} space is {setting['tau_0']}",
        f"at most {NEGATIVE_L2_MAX_TAU_0}",
    )
    for other in ({"space": "mu"}, {"form": "reciprocal"}):
        ExperimentConfig.from_dict({"contrastive": setting | other})


@pytest.mark.parametrize("space", ["x0", "eps"])
def test_negative_l2_is_accepted_at_the_bound(space: str) -> None:
    found = ExperimentConfig.from_dict({"contrastive": NEGATIVE_L2 | {"space": space}})
    assert found.contrastive.tau_0 == NEGATIVE_L2_MAX_TAU_0 and found.contrastive.space == space


def smallest_curvature(labels: list[int], tau: float) -> float:
    """Smallest eigenvalue of the Hessian of DDPM + PCL in eps space, by a loop over pairs."""
    num_images = len(labels)
    hessian = torch.diag(torch.full((num_images,), 2 / num_images, dtype=torch.float64))
    pairs = [
        (i, j) for i, j in itertools.product(range(num_images), repeat=2) if labels[i] != labels[j]
    ]
    for i, j in pairs:
        step = torch.zeros(num_images, dtype=torch.float64)
        step[i], step[j] = 1, -1
        hessian -= 2 * tau / len(pairs) * torch.outer(step, step)
    return float(torch.linalg.eigvalsh(hessian)[0])


@pytest.mark.parametrize("group_size", [2, 3, 4, 8, 16])
def test_negative_l2_loses_its_bound_at_the_stated_tau(group_size: int) -> None:
    labels = list(range(group_size))
    limit = (group_size - 1) / (2 * group_size)
    assert smallest_curvature(labels, 0.999 * limit) > 0
    assert smallest_curvature(labels, limit) == pytest.approx(0, abs=1e-12)
    assert smallest_curvature(labels, 1.001 * limit) < 0


def test_limit_is_0_44_for_groups_of_8_and_the_refusal_stays_below() -> None:
    limit = (8 - 1) / (2 * 8)
    assert round(limit, 2) == 0.44
    assert limit > NEGATIVE_L2_MAX_TAU_0
    assert smallest_curvature(list(range(8)), NEGATIVE_L2_MAX_TAU_0) > 0


def implemented_loss(labels: list[int], tau_0: float, eps_theta: Tensor) -> float:
    """DDPM + PCL of one group at constant tau, true noise 0, through the real loss."""
    config = ContrastiveConfig(
        form="negative_l2", space="eps", tau_0=tau_0, tau_schedule="constant"
    )
    schedule = NoiseSchedule.linear(DiffusionConfig())
    pcl = ContrastiveLoss(config, schedule, torch.ones(len(labels)), None)
    t = torch.zeros(len(labels), dtype=torch.int64)
    zeros = torch.zeros_like(eps_theta)
    terms = pcl(zeros, t, torch.tensor(labels), zeros, eps_theta)
    return float(eps_theta.square().mean() + terms.loss)


def test_accepted_negative_l2_grows_with_any_prediction_in_a_full_group() -> None:
    generator = torch.Generator().manual_seed(0)
    for scale in (1.0, 1e3):
        eps_theta = scale * torch.randn(8, 1, 2, 2, generator=generator)
        assert implemented_loss(list(range(8)), NEGATIVE_L2_MAX_TAU_0, eps_theta) > 0
        opposed = scale * torch.tensor([1.0, -1.0] * 4).view(8, 1, 1, 1).expand(8, 1, 2, 2)
        assert implemented_loss(list(range(8)), NEGATIVE_L2_MAX_TAU_0, opposed) > 0


@pytest.mark.parametrize("group_size", [2, 3, 4, 8])
def test_accepted_negative_l2_is_bounded_in_groups_of_every_size(group_size: int) -> None:
    assert smallest_curvature(list(range(group_size)), NEGATIVE_L2_MAX_TAU_0) > 0
