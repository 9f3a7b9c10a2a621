"""Configurations from what was given on the command line."""

import argparse
import dataclasses
from pathlib import Path

import pytest

from diffrop.console.configs import (
    as_begun,
    confirmation_asked,
    experiment_changes,
    experiment_config,
    for_device,
    given,
    launch_config,
    runs_root,
    study_config,
)
from diffrop.console.options import study_parser
from diffrop.recipes import recipe
from diffrop.record.confirmation import ConfirmedLeader
from diffrop.record.json_files import write_record
from diffrop.record.settings import write_settings
from diffrop.record.study_folder import StudyFolder
from diffrop.study.config import STUDY_FORMAT
from tests.made.confirmations import confirmation_record
from tests.made.small import SPACE


def parsed(*words: str) -> argparse.Namespace:
    return study_parser("").parse_args(list(words))


def test_nothing_given_leaves_the_recipe_as_it_is() -> None:
    args = parsed()
    assert experiment_changes(args) == {}
    assert experiment_config(args, None) == recipe("digits").experiment
    study = study_config(args, "x", SPACE)
    start = recipe("digits")
    assert study.name.startswith("x-")
    assert (study.num_trials, study.rung_samples) == (start.num_trials, start.rung_samples)


def test_options_come_after_the_commands_own_settings_and_set_comes_last() -> None:
    settings = {"num_trials": 5, "rung_samples": 50, "training.batch_size": 32}
    words = ("--trials", "7", "--images", "640", "--set", "training.num_images=1280")
    study = study_config(parsed(*words), "x", SPACE, settings)
    assert (study.num_trials, study.rung_samples) == (7, 50)
    training = study.experiment.training
    assert (training.batch_size, training.num_images) == (32, 1280)
    assert study.first_rung_images == 640


def test_paths_are_absolute_and_urls_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    args = parsed("--data-root", "images", "--extractor-weights", "https://a/b#sha256=0")
    changes = experiment_changes(args)
    assert changes["data.root"] == str(tmp_path / "images")
    assert changes["evaluation.extractor_weights"] == "https://a/b#sha256=0"
    fork = study_config(parsed("--fork-from", "c.safetensors"), "x", SPACE).fork_from
    assert fork == str(tmp_path / "c.safetensors")


def test_shorter_training_scales_its_recipe_unless_asked_otherwise() -> None:
    whole = recipe("digits").experiment.training
    training = study_config(parsed("--images", "2048"), "x", SPACE).experiment.training
    assert (training.num_images, training.warmup_images) == (2_048, whole.warmup_images // 10)
    words = ("--images", "2048", "--set", "training.warmup_images=5000", "--first-rung", "9")
    study = study_config(parsed(*words), "x", SPACE)
    assert (study.experiment.training.warmup_images, study.first_rung_images) == (5_000, 9)


def test_study_that_is_gone_on_with_keeps_the_shares_it_began_with(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path / "s")
    words = ("--study-name", "s", "--images", "2048")
    now = study_config(parsed(*words), "x", SPACE)
    assert as_begun(now, vars(parsed(*words)), folder) == now  # there is no such study yet
    before = now.experiment.with_values({"training.warmup_images": 9_999})
    begun = dataclasses.replace(now, experiment=before, first_rung_images=512)
    folder.path.mkdir()
    write_settings(folder, {"format": STUDY_FORMAT, **begun.to_dict()})
    assert as_begun(now, vars(parsed(*words)), folder) == begun
    asked = parsed(*words, "--first-rung", "640", "--set", "training.warmup_images=7")
    other = study_config(asked, "x", SPACE)
    keys = {*vars(asked), *experiment_changes(asked)}
    assert as_begun(other, keys, folder) == other


@pytest.mark.parametrize(
    ("words", "start"),
    [
        (["--batch-size", "0"], "--batch-size: training.batch_size is 0; allowed: more than 0"),
        (["--trials", "1"], "--trials: num_trials is 1; allowed"),
        (["--first-rung", "0"], "--first-rung: first_rung_images is 0; allowed"),
        (["--objective", "fid/al"], "--objective: evaluation.objectives[0] is 'fid/al'; allowed"),
        (["--constraint", "fid/all < 5"], "--constraint: evaluation.constraints is 'fid/all < 5'"),
        (["--constraint", "kid/all <= 5"], "--constraint: evaluation.constraints is 'kid/all"),
        (["--constraint", "fid/all <= 0"], "--constraint: evaluation.constraints is 'fid/all"),
        (["--set", "training.batch_size=0"], "training.batch_size is 0; allowed"),
        (["--batch-size", "8", "--set", "training.batch_size=0"], "training.batch_size is 0"),
    ],
)
def test_refused_value_begins_with_the_flag_that_gave_it(words: list[str], start: str) -> None:
    with pytest.raises(ValueError, match="allowed: ") as error:
        study_config(parsed(*words), "x", SPACE)
    assert str(error.value).startswith(start)


def test_refused_launch_begins_with_the_flag_that_gave_it() -> None:
    with pytest.raises(ValueError, match=r"^--seeds: confirm_seeds is 1; allowed: 2 or more"):
        launch_config(parsed("--seeds", "1", "--gpus-per-worker", "0"), None)


def test_points_are_read_from_a_file_and_checked(tmp_path: Path) -> None:
    path = tmp_path / "points.yaml"
    path.write_text("- contrastive.form: hinge\n")
    study = study_config(parsed("--points", str(path)), "x", SPACE)
    assert study.points == ({"contrastive.form": "hinge"},)
    path.write_text("- contrastive.form: none\n")
    with pytest.raises(ValueError, match="point 1 of"):
        study_config(parsed("--points", str(path)), "x", SPACE)


def test_recipes_precision_is_for_gpus_unless_one_was_asked_for() -> None:
    words = ["--dataset", "cifar10"]
    fast = experiment_config(parsed(*words), "ddpm")
    assert fast.training.precision == "bf16"
    assert for_device(fast, {}, on_gpu=True) == fast
    assert for_device(fast, {}, on_gpu=False).training.precision == "fp32"
    args = parsed(*words, "--set", "training.precision=tf32")
    asked = experiment_config(args, "ddpm")
    kept = for_device(asked, experiment_changes(args), on_gpu=False)
    assert kept.training.precision == "tf32"


def test_launch_takes_what_was_given_and_the_uri_of_the_environment() -> None:
    args = parsed("--gpus-per-worker", "0", "--confirm", "2", "--runs-root", "r", "--keep", "1")
    launch = launch_config(args, "http://tracking")
    assert (launch.confirm, launch.keep_trials, launch.runs_root) == (2, 1, "r")
    assert launch.tracking_uri == "http://tracking"
    own = parsed("--gpus-per-worker", "0", "--tracking-uri", "http://own")
    assert launch_config(own, "http://tracking").tracking_uri == "http://own"
    assert runs_root(args) == Path("r")


def test_given_names_the_fields_of_one_configuration() -> None:
    args = parsed("--seed", "3", "--dataset", "cifar10", "--image-size", "16")
    assert given(args, "study") == {"seed": 3}
    assert given(args, "data") == {"dataset": "cifar10", "image_size": 16}


def test_confirmation_is_the_recipes_unless_the_study_has_begun_one(tmp_path: Path) -> None:
    folder, start = StudyFolder(tmp_path / "s"), recipe("digits")
    resumed = parsed("--study-name", "s", "--resume")
    of_recipe = {"confirm": start.confirm, "confirm_seeds": start.confirm_seeds}
    assert confirmation_asked(resumed, folder) == of_recipe
    assert confirmation_asked(parsed("--dataset", "cifar10"), folder)["confirm"] == 0
    leaders = tuple(ConfirmedLeader(trial=n, name="", objectives={}) for n in (2, 3))
    folder.path.mkdir()
    write_record(folder.confirmation, confirmation_record(leaders=leaders, num_seeds=7))
    assert confirmation_asked(parsed(), folder, {"num_trials": 5}) == {}
    begun = {"confirm": 2, "confirm_seeds": 7}
    assert confirmation_asked(resumed, folder) == begun
    assert confirmation_asked(parsed("--study-name", "s"), folder) == of_recipe
    asked = parsed("--confirm", "0", "--gpus-per-worker", "0")
    assert launch_config(asked, None, begun).confirm == 0
    assert launch_config(asked, None, begun).confirm_seeds == 7
