"""What to type after a study: the same on the screen, in `diffrop status` and in the report."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

NUM_LEADERS, NUM_SEEDS = 3, 5
"""Of the confirmation that is advised."""
NUM_TRIALS = 30
"""Of a search that is advised where a smaller one has found nothing."""
NAME, RESUME, CONFIRM, SEEDS = "--study-name", "--resume", "--confirm", "--seeds"
TRIALS = ("--trials", "--budget-trials")


@dataclass(frozen=True, kw_only=True)
class StudyEnd:
    """How far a study has come, as far as the next step depends on it."""

    command: str
    """Of its start; empty where it is not known."""
    name: str
    folder: str
    """Its folder, as short as it can be typed, without quotation marks."""
    num_left: int
    """Trials that have not ended."""
    num_candidates: int
    """Trials with a full score, beside the baseline."""
    is_learned: bool
    """Whether a best can be named."""
    is_confirmed: bool
    """Whether fresh seeds have decided about the present leaders."""
    num_trials: int
    """Of the whole search."""
    has_best: bool
    """Whether something else than the baseline is the best."""


def resume_command(command: str, name: str, *more: str, without: Sequence[str] = ()) -> str:
    """Return the command that goes on with a study: that of its start, with its name.

    Args:
        command: of its start.
        name: of the study.
        more: words that come last.
        without: options of its start that are left out, with their values.
    """
    return shlex.join([*_without(command, NAME, *without), NAME, name, RESUME, *more])


def repeat_command(command: str, name: str, options: Mapping[str, str]) -> str:
    """Return the command that runs a study anew from its beginning, under another name.

    Args:
        command: of one of its launches.
        name: of the new study.
        options: flags and values that take the place of those in the command.
    """
    given = {NAME: name, **options}
    words = [word for pair in given.items() for word in pair]
    return shlex.join([*_without(command, *given), *words])


def train_command(folder: str) -> str:
    """Return the command that trains the best of a study in full.

    Args:
        folder: the study's; it is quoted here.
    """
    return f"diffrop train --config {shlex.quote(f'{folder}/best.yaml')}"


def _without(command: str, *options: str) -> list[str]:
    """Return a command's words without --resume and without some options and their values."""
    kept: list[str] = []
    words = iter(shlex.split(command))
    for word in words:
        if word in options:
            next(words, None)
        elif word != RESUME and word.partition("=")[0] not in options:
            kept.append(word)
    return kept


def next_step(end: StudyEnd) -> tuple[str, str]:
    """Return what to do next, in one word, and the whole command; both empty if there is nothing.

    A search that has not ended is gone on with; its leaders are confirmed, as many as the command
    asks for already; then the best is trained in full. Where a small search has found none, a
    larger one comes before that.
    """
    if end.num_left > 0 and end.command:
        return "resume", resume_command(end.command, end.name)
    if not end.is_learned:
        return "", ""
    if end.num_candidates and not end.is_confirmed and end.command:
        asked = any(word.partition("=")[0] == CONFIRM for word in shlex.split(end.command))
        leaders = str(min(NUM_LEADERS, end.num_candidates))
        more = () if asked else (CONFIRM, leaders, SEEDS, str(NUM_SEEDS))
        return "confirm", resume_command(end.command, end.name, *more)
    if end.is_confirmed and not end.has_best and end.num_trials < NUM_TRIALS and end.command:
        larger = (TRIALS[0], str(NUM_TRIALS), CONFIRM, str(NUM_LEADERS), SEEDS, str(NUM_SEEDS))
        replaced = (*TRIALS, CONFIRM, SEEDS)
        return "search", resume_command(end.command, end.name, *larger, without=replaced)
    return "train", train_command(end.folder)
