"""One launch of a study from the terminal: its plan, or its run and its results.

Ray, torch and MLflow are imported once there are a screen and the study's folder.
"""

import contextlib
import dataclasses
import io
import json
import math
import shlex
from collections.abc import Callable, Container, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from diffrop.console.alerts import AlertScreen
from diffrop.console.call import Call
from diffrop.console.commands import relative
from diffrop.console.configs import on_this_machine
from diffrop.console.kept_screen import KeptScreen
from diffrop.console.live_report import LiveReport
from diffrop.console.results import (
    MAX_ROWS,
    MIN_ROWS,
    conclusions,
    protocol,
    remarks,
    results_table,
    scale,
)
from diffrop.console.screens import View, open_screen
from diffrop.console.shown import LOADING, command_screen
from diffrop.console.terminal import Terminal
from diffrop.edge import Edge, described
from diffrop.engine.preparing import Preparing
from diffrop.engine.progress import Pages, Screen
from diffrop.errors import DiffropError
from diffrop.record.confirmation import ConfirmationRecord
from diffrop.record.cost import CostRecord
from diffrop.record.json_files import read_record
from diffrop.record.next_step import StudyEnd, next_step
from diffrop.record.settings import read_settings
from diffrop.record.study_folder import StudyFolder
from diffrop.redaction import storable_words
from diffrop.study.config import LaunchConfig, StudyConfig
from diffrop.study.learned import warmup_warnings, within_warmup
from diffrop.tracking.uri import ui_command
from diffrop.webhook import Webhook

if TYPE_CHECKING:
    from diffrop.engine.run import FinishedStudy

SCREEN_LINES = 24
"""In which the end of what is printed, and the shell's prompt, fit on a terminal of 80 columns."""
OTHER_LINES = 5
"""Of them: the table's head, two empty ones, where the report is, and the prompt."""
RESUME_HINT = "carry on with the same command, --study-name {name} and --resume"


def chosen_view(json_lines: bool, quiet: bool) -> View:
    """Return the view of --json and --quiet."""
    return "json" if json_lines else "quiet" if quiet else "lines"


def typed_command(call: Call) -> str:
    """Return what was typed, without credentials, as it is stored with the study."""
    return shlex.join([*call.command.split(), *storable_words(call.argv)])


def warnings_before(config: StudyConfig) -> list[str]:
    """Return what takes its meaning from a study or a trial, before it starts, with a remedy."""
    training = config.experiment.training
    ends = [corner.training for corner in config.space.corners(config.experiment)]
    learns = not within_warmup(training.num_images, training.warmup_images)
    return warmup_warnings([training, *ends], "" if learns else "No best will be named.")


def show_plan(
    config: StudyConfig, launch: LaunchConfig, asked: Container[str], console: Console
) -> None:
    """Check a study and print what it would do; the arguments are those of `run`.

    Raises:
        ValueError: something in it is not allowed.
        StudyError: the folder's state forbids it.
        ResourceError: it needs more than there is.
    """
    with command_screen(console) as screen:
        from diffrop.console.dry_run import measure, print_plan
        from diffrop.engine.prepare import check_study

        config, launch = on_this_machine(config, launch, asked)
        store, dataset = check_study(config, launch, screen.working)
        screen.working("measuring how fast this machine is, up to a minute")
        measured = measure(config, launch, dataset, store.path.parent)
    for line in warnings_before(config):
        console.print(line)
    print_plan(measured, config, launch, dataset, store.path, console)


def run(
    config: StudyConfig,
    launch: LaunchConfig,
    asked: Container[str],
    command: str,
    view: View,
    console: Console,
    pages: Pages,
    edge: Edge,
    notify: str | None = None,
) -> "FinishedStudy":
    """Check, prepare and run a study, showing where it stands and what came out.

    Args:
        config: what the study is, as it was typed: see `on_this_machine`.
        launch: how it runs this time, likewise.
        asked: the keys that were asked for.
        command: what was typed; see `typed_command`.
        view: what is shown while it runs.
        console: where.
        pages: figures, report and answer: now and then while it runs, and at its end.
        edge: learns where the study's log is, and how to go on.
        notify: URL to which messages go; it is kept nowhere.

    Raises:
        ValueError: something in it is not allowed.
        StudyError: the folder's state forbids it.
        ResourceError: it needs more than there is.
    """
    folder = StudyFolder(Path(launch.runs_root).resolve() / config.name)
    preparing = Preparing(folder)
    kept = KeptScreen(open_screen(view, console), folder, preparing)
    alerts = None if notify is None else _alerts(kept, config, folder, notify)
    screen = LiveReport(kept if alerts is None else alerts, pages, folder)
    edge.log = folder.log
    render, answer = pages.render_study, pages.study_answer
    again = RESUME_HINT.format(name=config.name)

    def show(finished: "FinishedStudy") -> None:
        finished = dataclasses.replace(finished, answer=_answer(answer, folder))
        show_results(finished, view, console)
        kept.keep(*captured(lambda text: print_results(finished, text)))

    with _told(alerts, folder), contextlib.closing(screen), contextlib.ExitStack() as stack:

        def begin() -> None:
            edge.advice = f"To go on, {again if launch.resume else 'give the same command again'}."
            stack.enter_context(preparing.run())
            for line in warnings_before(config):
                screen.say(line)
            screen.say(f"Study {config.name}: {config.num_trials} trials; preparing.")

        if is_first := preparing.is_first and not launch.resume:
            begin()
        screen.working(LOADING)
        from diffrop.console.dry_run import average_lines
        from diffrop.engine.prepare import check_launch, prepare
        from diffrop.engine.run import run_study
        from diffrop.scoring.data_summary import data_lines

        config, launch = on_this_machine(config, launch, asked)
        store = check_launch(config, launch, preparing)
        if not is_first:  # a folder that is there is touched once it is known to be the study's
            begin()
        prepared = prepare(config, launch, store, screen.working)
        known = *data_lines(prepared.inputs.dataset), *average_lines(config)
        for line in (*known, *prepared.warm_start.notes):
            screen.say(line)
        try:
            finished = run_study(config, launch, prepared, command, screen, render, show)
            if alerts is not None:
                words = ended_words(finished, _answer(answer, folder))
                alerts.ended(words, finished.result.confirmation)
            kept.keep(*finished.untracked)
            return finished
        finally:
            if folder.config.exists():  # it is made once its cluster stands
                edge.advice = f"To go on, {again}."


def _alerts(screen: Screen, config: StudyConfig, folder: StudyFolder, notify: str) -> AlertScreen:
    """Return what sends messages of a study; a best that is confirmed already is not told of."""
    before = read_record(folder.confirmation, ConfirmationRecord)
    known = before.best if before is not None and before.current else None
    return AlertScreen(screen, config.name, Webhook(notify), confirmed=known)


@contextlib.contextmanager
def _told(alerts: AlertScreen | None, folder: StudyFolder) -> Iterator[None]:
    """Have a launch that is ended by an error or a signal told of, and the last messages sent.

    What it confirmed before is told too: the next launch takes it as known.
    """
    if alerts is None:
        yield
        return
    try:
        yield
    except BaseException as error:
        why = described(error)[1] if isinstance(error, Exception) else "it was interrupted"
        record = None
        with contextlib.suppress(ValueError, DiffropError):  # that error is not this one
            record = read_record(folder.confirmation, ConfirmationRecord)
        alerts.ended(f"the launch has ended: {why.rstrip('.')}.", record)
        raise
    finally:
        alerts.finish()


def ended_words(finished: "FinishedStudy", answer: str) -> str:
    """Return in a message's words how a launch ended."""
    trials, asked = finished.result.trials, finished.result.config.num_trials
    ended = sum(trial.state != "RUNNING" for trial in trials)
    how = "the launch was interrupted" if finished.interrupted else "the launch has ended"
    early = f"Ended early: {finished.refusal}." if finished.refusal else ""
    return " ".join(filter(None, [f"{how}, {ended} of {asked} trials.", early, answer]))


def _answer(answer: Callable[[Path], str], folder: StudyFolder) -> str:
    """Return the study's answer in a sentence; why there is none, if it cannot be read."""
    if not folder.trials_table.exists():
        return ""
    try:
        return answer(folder.path)
    except (ValueError, DiffropError) as error:  # the table must be shown all the same
        return f"The answer cannot be given: {error}."


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
