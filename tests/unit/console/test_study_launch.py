import dataclasses

import pytest

from diffrop.console.screens import View
from diffrop.console.study_launch import chosen_view, typed_command, warnings_before
from tests.made.small import small_experiment, small_study


def test_command_is_stored_as_it_was_typed_without_credentials() -> None:
    argv = ["--trials", "4", "--storage", "postgresql://me:secret@host/db", "--study-name", "a b"]
    command = typed_command("run_tau_sweep", argv)
    assert command.startswith("python studies/run_tau_sweep.py --trials 4 --storage ")
    assert "secret" not in command and command.endswith("--study-name 'a b'")


@pytest.mark.parametrize(
    ("json_lines", "quiet", "view"),
    [(True, False, "json"), (False, True, "quiet"), (False, False, "lines")],
)
def test_view_is_that_of_the_options(json_lines: bool, quiet: bool, view: View) -> None:
    assert chosen_view(json_lines, quiet) == view


def test_training_within_its_warmup_is_told_before_anything_starts() -> None:
    assert warnings_before(small_study()) == []
    experiment = small_experiment(training__warmup_images=128_000)
    (line,) = warnings_before(dataclasses.replace(small_study(), experiment=experiment))
    assert line.startswith("warning: training.warmup_images is 128,000 in a training of 128")
    assert "No best will be named" in line and "To fix: " in line
