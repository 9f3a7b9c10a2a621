import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from diffrop.config import (
    ContrastiveConfig,
    DataConfig,
    ExperimentConfig,
)
from diffrop.yaml_text import load_yaml
from tests.made.faults import fault

SECTIONS = get_type_hints(ExperimentConfig)


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


@pytest.mark.parametrize(
    ("key", "value", "read"),
    [
        ("training.num_images", "1e5", 100_000),
        ("training.num_images", 1e5, 100_000),
        ("training.learning_rate", "1e-4", 1e-4),
        ("contrastive.tau_0", 2, 2.0),
        ("model.channel_multipliers", "[1, 2]", (1, 2)),
        ("sampling.ema_length", None, None),
    ],
)
def test_value_takes_the_type_of_its_key(key: str, value: object, read: object) -> None:
    config = ExperimentConfig().with_values({key: value})
    part, _, name = key.partition(".")
    found = getattr(getattr(config, part), name)
    assert found == read and type(found) is type(read)


def test_path_of_the_data_may_begin_with_the_home_folder() -> None:
    data = DataConfig(root="~/images", reference_root="~/reference")
    assert data.root == str(Path.home() / "images")
    assert data.reference_root == str(Path.home() / "reference")


@pytest.mark.parametrize("value", [None, 3, "grouped", [1, 2]])
def test_section_that_is_no_mapping_is_refused(value: Any) -> None:
    refused({"diffusion": value}, "diffusion", repr(value), "DiffusionConfig")


@pytest.mark.parametrize(
    ("section", "field", "value", "allowed"),
    [
        ("training", "batch_size", 64.5, "a whole number"),
        ("training", "batch_size", "6.4e-1", "a whole number"),
        ("training", "batch_size", "many", "a whole number"),
        ("training", "batch_size", float("inf"), "a whole number"),
        ("training", "batch_size", 2**63, "a whole number up to"),
        ("training", "batch_size", True, "a whole number"),
        ("training", "batch_size", None, "a whole number"),
        ("training", "learning_rate", "fast", "a number"),
        ("training", "learning_rate", True, "a number"),
        ("training", "learning_rate", None, "a number"),
        ("training", "learning_rate", [1e-4], "a number"),
        ("training", "compile", 1, "true or false"),
        ("training", "compile", "yes", "true or false"),
        ("data", "dataset", 7, "a text"),
        ("data", "dataset", None, "a text"),
        ("data", "root", 7, "a text"),
        ("data", "image_size", 32.5, "a whole number"),
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
        (
            "model",
            "channel_multipliers",
            [1, 2.5],
            "channel_multipliers[1] is 2.5; allowed: a w",
        ),
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
        ("sampling", "sampler", ["ddim", "dpmpp", "heun", "ancestral"]),
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


@fault(21, "values out of range")
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
        ("model", "channel_multipliers", (), "1 to 10 positive numbers"),
        ("model", "channel_multipliers", (1, 0), "1 to 10 positive numbers"),
        ("model", "channel_multipliers", (1, 10**6), "1 to 10 positive numbers"),
        ("model", "base_channels", 8 * 10**6, "a positive multiple of 8, at most 16,384"),
        ("model", "num_res_blocks", 0, "1 to 64"),
        ("model", "num_res_blocks", 10**9, "1 to 64"),
        ("model", "dropout", 1.0, "0 <= dropout < 1"),
        ("model", "dropout", -0.1, "0 <= dropout < 1"),
        ("diffusion", "num_timesteps", 1, "2 to 100,000"),
        ("diffusion", "num_timesteps", 10**9, "2 to 100,000"),
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
        ("sampling", "batch_size", 0, "1 to 1,000,000"),
        ("evaluation", "num_samples", 1, "at least 2"),
        ("evaluation", "num_samples", 10**9, "at least 2, to 1,000,000"),
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
    refused({"diffusion": values}, "diffusion.beta_", "0 < beta_")


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
    refused(values, "sampling.num_steps is 51", "at most diffusion.num_timesteps = 50")
    values["sampling"]["num_steps"] = 50
    ExperimentConfig.from_dict(values)


def test_contrastive_loss_must_start_before_the_end_of_training() -> None:
    values: dict[str, Any] = {
        "training": {"num_images": 1000},
        "contrastive": {"start_images": 1000},
    }
    refused(values, "contrastive.start_images is 1000", "less than training.num_images = 1000")
    values["contrastive"]["form"] = "none"
    ExperimentConfig.from_dict(values)


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


def test_empty_file_is_refused_as_a_configuration(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("", encoding="utf-8")
    refused(load_yaml(path), "None", "a mapping")
