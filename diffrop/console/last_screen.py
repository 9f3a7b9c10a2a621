"""What a launch prints at its end: the results, and where to look and what to type next.

It is imported before Ray, torch and MLflow are.
"""

import io
import json
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from diffrop.console.commands import relative
from diffrop.console.results import (
    MAX_ROWS,
    MIN_ROWS,
    conclusions,
    protocol,
    remarks,
    results_table,
    scale,
)
from diffrop.console.screens import View
from diffrop.console.terminal import Terminal
from diffrop.record.cost import CostRecord
from diffrop.record.json_files import read_record
from diffrop.record.next_step import StudyEnd, next_step
from diffrop.record.settings import read_settings
from diffrop.record.study_folder import StudyFolder
from diffrop.tracking.uri import ui_command

if TYPE_CHECKING:
    from diffrop.engine.run import FinishedStudy

SCREEN_LINES = 24
"""In which the end of what is printed, and the shell's prompt, fit on a terminal of 80 columns."""
OTHER_LINES = 5
"""Of them: the table's head, two empty ones, where the report is, and the prompt."""


def show_results(finished: "FinishedStudy", view: View, console: Console) -> None:
    """Print a study's results: as one line of JSON, or as a table with all that belongs to it."""
    if view == "json":
        print(json.dumps(results_event(finished)), flush=True)
    else:
        print_results(finished, console)


def captured(show: Callable[[Console], object]) -> list[str]:
    """Return the lines of what is printed on a console."""
    text = io.StringIO()
    show(Terminal(file=text, width=100))
    return text.getvalue().splitlines()


def results_event(finished: "FinishedStudy") -> dict[str, Any]:
    """Return a study's results as the last line of --json."""
    rows = json.loads(finished.result.frame.to_json(orient="records"))
    return {
        "event": "results",
        "study": finished.result.config.name,
        "directory": str(finished.directory),
        "interrupted": finished.interrupted,
        "nothing_learned": finished.result.nothing_learned,
        "trials": rows,
    }


def print_results(finished: "FinishedStudy", console: Console) -> None:
    """Print what belongs to the results, and last the answer and the ranked table."""
    result = finished.result
    console.print()
    lines = (
        *scale(result, finished.reference_scores),
        *remarks(result),
        *conclusions(StudyFolder(finished.directory)),
    )
    for line in lines:
        console.print(line, soft_wrap=False)
    cost = read_record(StudyFolder(finished.directory).cost, CostRecord)
    if cost is not None and cost.plan and cost.actual:
        from diffrop.console.dry_run import comparison_table

        console.print()
        console.print(comparison_table(cost.plan, cost.actual, console.width))
    table, note = _fitting(finished, console)
    console.print()
    if finished.answer:
        console.print(finished.answer)
        console.print()
    console.print(table)
    for line in (note, *_early_end(finished)):
        console.print(line)


def _fitting(finished: "FinishedStudy", console: Console) -> tuple[Table, str]:
    """Return the table of as many trials as the last screen has room for, and the text below it.

    What is left out of the table the text names.
    """
    result, width = finished.result, console.width
    below = sum(math.ceil(len(line) / width) for line in _commands(finished))
    below += bool(finished.untracked)  # while this is printed, more may come to be missing
    for most in range(MAX_ROWS, MIN_ROWS - 1, -1):
        table, left_out = results_table(result, width, most)
        more = len(result.trials) - table.row_count
        left_out = [f"{more:,} more trials"] * (more > 0) + left_out
        note = protocol(result)
        if left_out:
            note += f" Not shown, but in trials.csv: {', '.join(left_out)}."
        named = (*_early_end(finished), *finished.untracked[:1])
        texts = filter(None, (finished.answer, note, *named))
        lines = below + sum(len(Text(text).wrap(console, width)) for text in texts)
        if lines + table.row_count + OTHER_LINES <= SCREEN_LINES:
            break
    return table, note


def _early_end(finished: "FinishedStudy") -> list[str]:
    """Return why a launch ended before all was done that it was asked for."""
    lines = [f"Ended early: {finished.refusal}."] if finished.refusal else []
    return lines + ["Interrupted."] * finished.interrupted


def _untracked(finished: "FinishedStudy") -> list[str]:
    """Return what MLflow lacks, in two sentences at most."""
    more = len(finished.untracked) - 1
    others = [f"So are {more:,} more, which {finished.directory.name}/study.log names."]
    return finished.untracked[:1] + others * (more > 0)


def print_places(finished: "FinishedStudy", console: Console) -> None:
    """Print what MLflow lacks, where the figures and tracked runs are, how to train the best."""
    for line in _untracked(finished):
        console.print(line, soft_wrap=False)
    shown, folder = relative(finished.directory), StudyFolder(finished.directory)
    console.print()
    if folder.report.exists():
        console.print(f"report   {shown}/report.html", soft_wrap=True)
    elif folder.figures.exists():  # the report has them all
        console.print(f"figures  {shown}/figures/", soft_wrap=True)
    for line in _commands(finished):
        console.print(line, soft_wrap=True)


def _commands(finished: "FinishedStudy") -> list[str]:
    """Return what may be typed next: to see what was tracked, and to go on."""
    step, command = next_step(_end(finished))
    further = [f"{step:8} {command}"] if step else []
    return [f"MLflow   {ui_command(finished.tracking_uri)}", *further]


def _end(finished: "FinishedStudy") -> StudyEnd:
    """Return what the next step depends on."""
    result, folder = finished.result, StudyFolder(finished.directory)
    confirmation = result.confirmation
    return StudyEnd(
        command=str(read_settings(folder).get("command", "")),
        name=result.config.name,
        folder=str(relative(finished.directory)),
        num_left=result.config.num_trials - sum(t.state != "RUNNING" for t in result.trials),
        num_candidates=sum(trial.number > 0 for trial in result.ranked),
        is_learned=not result.nothing_learned and result.best is not None,
        is_confirmed=confirmation is not None and confirmation.judged and confirmation.current,
        num_trials=result.config.num_trials,
        has_best=result.best is not None and result.best.number > 0,
    )
