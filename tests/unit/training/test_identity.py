import dataclasses
import json
from pathlib import Path

import pytest

from diffrop.checkpoint_file import write_checkpoint
from diffrop.errors import CheckpointError
from diffrop.schema import flatten
from diffrop.training.identity import (
    FORMAT,
    KEYS_WITHOUT_EFFECT_ON_WEIGHTS,
    PARTS_WITHOUT_EFFECT_ON_WEIGHTS,
    TrainingIdentity,
    canonical,
    checkpoint_key,
    differing_settings,
    forked,
    identify,
    split_key,
)
from tests.made.checkpoints import checkpoint
from tests.made.small import small_experiment


def key(form: str = "reciprocal", **changes: object) -> str:
    return identify(small_experiment(form, **changes), 1, "data").key


@pytest.mark.parametrize(
    "changes",
    [
        {"training__num_images": 4096, "training__log_every_images": 7},
        {"training__checkpoint_every_images": 32, "training__keep_checkpoints": 5},
        {"training__grad_ratio_every_steps": 9, "training__compile": True},
        {"data__root": "elsewhere", "data__reference": "heldout"},
        {"data__skip_damaged": True, "data__max_image_pixels": 9},
        {"sampling__num_steps": 9, "sampling__sampler": "ancestral"},
        {"evaluation__seed": 3, "evaluation__num_samples": 77},
        {"contrastive__margin": 1.7, "contrastive__margin_rule": "constant"},
        {"objective__cbdm_tau": 3.0, "objective__cbdm_labels": "uniform"},
    ],
)
def test_what_leaves_the_weights_alone_leaves_the_key(changes: dict[str, object]) -> None:
    assert key(**changes) == key()


@pytest.mark.parametrize(
    "changes",
    [
        {"training__seed": 1},
        {"training__precision": "bf16"},
        {"training__learning_rate": 1e-3},
        {"training__ema_lengths": [0.1]},
        {"contrastive__tau_0": 2.0},
        {"contrastive__decay_temperature": 0.5},
        {"contrastive__start_images": 64},
        {"objective__loss": "cbdm"},
        {"data__horizontal_flip": True},
        {"data__class_sampling": "sqrt"},
        {"diffusion__group_size": 4},
        {"model__dropout": 0.1},
    ],
)
def test_what_moves_the_weights_changes_the_key(changes: dict[str, object]) -> None:
    assert key(**changes) != key()


def test_settings_without_effect_under_others_do_not_count() -> None:
    assert key("none") == key("none", contrastive__tau_0=5.0, contrastive__space="x0")
    constant = {"contrastive__tau_schedule": "constant"}
    assert key(**constant) == key(**constant, contrastive__decay_temperature=0.9)
    assert key("hinge", contrastive__margin=1.01) != key("hinge")
    cbdm = {"objective__loss": "cbdm"}
    assert key(**cbdm, objective__cbdm_tau=3.0) != key(**cbdm)
    alone = {"diffusion__timesteps": "per_sample"}
    assert key(**alone, diffusion__group_size=4) == key(**alone)
    lengths = {"training__ema_lengths": [0.1, 0.05]}
    assert key(**lengths) == key(training__ema_lengths=[0.05, 0.1])


def test_keys_without_effect_are_keys_of_the_configuration() -> None:
    known = flatten(small_experiment().to_dict())
    assert set(KEYS_WITHOUT_EFFECT_ON_WEIGHTS) <= known.keys()
    assert {name.partition(".")[0] for name in known} >= set(PARTS_WITHOUT_EFFECT_ON_WEIGHTS)


def test_workers_data_and_parent_count() -> None:
    config = small_experiment()
    keys = {
        identify(config, 1, "data").key,
        identify(config, 2, "data").key,
        identify(config, 1, "other").key,
        identify(config, 1, "data", checkpoint_key("0" * 32, 64)).key,
        identify(config, 1, "data", checkpoint_key("0" * 32, 128)).key,
    }
    assert len(keys) == 5 and all(len(k) == 32 for k in keys)
    assert split_key(checkpoint_key("0" * 32, 64)) == ("0" * 32, 64)


def test_key_of_a_configuration_stays_what_it_was() -> None:
    text = json.dumps(canonical(small_experiment("none")), sort_keys=True)
    assert "evaluation" not in text and '"contrastive.form": "none"' in text
    assert "contrastive.tau_0" not in text and "cbdm_tau" not in text
    identity = TrainingIdentity({"training.seed": 0, "a": 1.0}, 1, "d")
    assert identity.key == "8f47295bbf1dff6f6b463c18dec26df8"


def test_training_of_an_earlier_format_keeps_its_key_and_is_no_training_of_now() -> None:
    key = "4a125c13da79a7074adc900efed4a85b"
    stored = {
        "format": 1,
        "key": key,
        "seed": 0,
        "canonical": {"training.seed": 0, "a": 1.0},
        "world_size": 1,
        "data_digest": "d",
        "parent": None,
        "origin": None,
    }
    earlier = TrainingIdentity.from_dict(stored)
    assert earlier.key == key and earlier.to_dict() == stored
    assert TrainingIdentity(earlier.canonical, 1, "d").key != key
    for number in (0, FORMAT + 1):
        unknown = TrainingIdentity(earlier.canonical, 1, "d", format=number).to_dict()
        with pytest.raises(ValueError, match="format"):
            TrainingIdentity.from_dict(unknown)


def test_training_of_an_earlier_format_is_forked_and_not_continued() -> None:
    config = small_experiment("none")
    earlier = dataclasses.replace(identify(config, 1, "data"), format=1)
    child = forked(earlier, 64, config, 1, "data")
    assert child.parent == checkpoint_key(earlier.key, 64)
    assert child.format == FORMAT


def test_fine_tuning_is_known_by_what_its_start_holds_not_by_its_path(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.safetensors", "b.safetensors", "c.safetensors")]
    for path, value in zip(paths, (1.0, 1.0, 2.0), strict=True):
        write_checkpoint(path, checkpoint(value))
    same, moved, other = (key("none", training__init_from=str(path)) for path in paths)
    assert same == moved and other != same != key("none")
    with pytest.raises(CheckpointError, match="not a readable checkpoint"):
        key("none", training__init_from=str(tmp_path / "missing"))


def test_fork_that_changes_nothing_is_the_training_itself() -> None:
    trunk = identify(small_experiment("none"), 1, "data")
    assert forked(trunk, 64, small_experiment("none"), 1, "data") is trunk
    child = forked(trunk, 64, small_experiment(), 1, "data")
    assert child.parent == checkpoint_key(trunk.key, 64)
    assert child.key != identify(small_experiment(), 1, "data").key
    assert forked(child, 96, small_experiment(), 1, "data") is child
    reseeded = forked(trunk, 64, small_experiment("none", training__seed=5), 1, "data")
    assert reseeded.key != trunk.key


def test_identity_is_read_as_it_was_written_and_not_otherwise() -> None:
    identity = identify(small_experiment(), 2, "data", checkpoint_key("0" * 32, 64))
    stored = json.loads(json.dumps(identity.to_dict()))
    read = TrainingIdentity.from_dict(stored)
    assert read.key == identity.key and read.parent == identity.parent
    stored["canonical"]["contrastive.tau_0"] = 4.0
    with pytest.raises(ValueError, match="its content gives another"):
        TrainingIdentity.from_dict(stored)
    with pytest.raises(ValueError, match="no training's identity"):
        TrainingIdentity.from_dict({"key": "x"})


def test_differences_name_old_and_new() -> None:
    found = differing_settings(small_experiment(), small_experiment(contrastive__tau_0=2.0))
    assert found == ["contrastive.tau_0 1.0 -> 2.0"]
    assert (
        differing_settings(small_experiment("none"), small_experiment("none", training__seed=0))
        == []
    )
