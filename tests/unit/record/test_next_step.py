"""What to type after a study."""

import dataclasses
import shlex

import pytest

from diffrop.record.next_step import StudyEnd, next_step, resume_command

COMMAND = "python studies/run_tau_sweep.py --trials 9 --set 'a.b=[1, 2]'"
END = StudyEnd(
    command=COMMAND,
    name="s1",
    folder="my runs/s1",
    num_left=0,
    num_candidates=8,
    is_learned=True,
    is_confirmed=False,
    num_trials=9,
    has_best=True,
)


@pytest.mark.parametrize(
    ("changes", "step", "words"),
    [
        ({}, "confirm", ["--study-name", "s1", "--resume", "--confirm", "3", "--seeds", "5"]),
        ({"num_candidates": 1}, "confirm", ["--confirm", "1", "--seeds", "5"]),
        ({"num_left": 2}, "resume", ["--study-name", "s1", "--resume"]),
        ({"is_confirmed": True}, "train", ["--config", "my runs/s1/best.yaml"]),
        (
            {"is_confirmed": True, "has_best": False, "num_trials": 30},
            "train",
            ["--config", "my runs/s1/best.yaml"],
        ),
        ({"num_candidates": 0}, "train", ["--config", "my runs/s1/best.yaml"]),
        ({"command": ""}, "train", ["--config", "my runs/s1/best.yaml"]),
        ({"is_learned": False}, "", []),
    ],
)
def test_next_step_is_a_whole_command(
    changes: dict[str, object], step: str, words: list[str]
) -> None:
    found, command = next_step(dataclasses.replace(END, **changes))  # type: ignore[arg-type]
    typed = shlex.split(command)
    assert found == step
    assert typed[len(typed) - len(words) :] == words
    if step in ("confirm", "resume"):
        assert typed[:6] == shlex.split(COMMAND)


@pytest.mark.parametrize("confirm", ["--confirm=2 --seeds 4", "--confirm 2"])
def test_confirmation_that_a_launch_asked_for_goes_on_as_it_was_asked_for(confirm: str) -> None:
    typed = f"{COMMAND} --study-name=old {confirm} --resume --quiet"
    step, command = next_step(dataclasses.replace(END, command=typed))
    assert (step, command) == (
        "confirm",
        f"{COMMAND} {confirm} --quiet --study-name s1 --resume",
    )


def test_small_search_that_found_nothing_is_gone_on_with_as_a_larger_one() -> None:
    typed = "python studies/run_tau_sweep.py --budget-trials=9 --confirm 1 --quiet --seeds 4"
    nothing = dataclasses.replace(END, command=typed, is_confirmed=True, has_best=False)
    step, command = next_step(nothing)
    assert step == "search"
    assert command == (
        "python studies/run_tau_sweep.py --quiet --study-name s1 --resume "
        "--trials 30 --confirm 3 --seeds 5"
    )
    assert next_step(dataclasses.replace(nothing, command=""))[0] == "train"


def test_what_an_earlier_launch_asked_for_stands_in_the_command_once() -> None:
    assert resume_command(f"{COMMAND} --study-name", "s1") == f"{COMMAND} --study-name s1 --resume"
