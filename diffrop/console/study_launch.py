"""One launch of a study from the terminal: its plan, or its run and its results.

Ray, torch and MLflow are imported once there are a screen and the study's folder.
"""

import contextlib
import dataclasses
import shlex
from collections.abc import Callable, Container, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from diffrop.console.alerts import AlertScreen
from diffrop.console.call import Call
from diffrop.console.configs import on_this_machine
from diffrop.console.kept_screen import KeptScreen
from diffrop.console.last_screen import captured, print_results, show_results
from diffrop.console.live_report import LiveReport
from diffrop.console.screens import View, open_screen
from diffrop.console.shown import LOADING, command_screen
from diffrop.edge import Edge, described
from diffrop.engine.preparing import Preparing
from diffrop.engine.progress import Pages, Screen
from diffrop.errors import DiffropError
from diffrop.record.confirmation import ConfirmationRecord
from diffrop.record.json_files import read_record
from diffrop.record.study_folder import StudyFolder
from diffrop.redaction import storable_words
from diffrop.study.config import LaunchConfig, StudyConfig
from diffrop.study.learned import warmup_warnings, within_warmup
from diffrop.webhook import Webhook

if TYPE_CHECKING:
    from diffrop.engine.run import FinishedStudy

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

    def show(finished: "FinishedStudy") -> None:
        finished = dataclasses.replace(finished, answer=_answer(answer, folder))
        show_results(finished, view, console)
        kept.keep(*captured(lambda text: print_results(finished, text)))

    with _told(alerts, folder), contextlib.closing(screen), contextlib.ExitStack() as stack:
        if is_first := preparing.is_first and not launch.resume:
            stack.enter_context(_begun(config, launch, preparing, screen, edge))
        screen.working(LOADING)
        from diffrop.console.dry_run import average_lines
        from diffrop.engine.prepare import check_launch, prepare
        from diffrop.engine.run import run_study
        from diffrop.scoring.data_summary import data_lines

        config, launch = on_this_machine(config, launch, asked)
        store = check_launch(config, launch, preparing)
        if not is_first:  # a folder that is there is touched once it is known to be the study's
            stack.enter_context(_begun(config, launch, preparing, screen, edge))
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
                edge.advice = _advice(config)


def _advice(config: StudyConfig) -> str:
    return f"To go on, {RESUME_HINT.format(name=config.name)}."


@contextlib.contextmanager
def _begun(
    config: StudyConfig, launch: LaunchConfig, preparing: Preparing, screen: Screen, edge: Edge
) -> Iterator[None]:
    """Have a study's folder show that it is prepared, until it ends; say so on the screen."""
    again = "To go on, give the same command again."
    edge.advice = _advice(config) if launch.resume else again
    with preparing.run():
        for line in warnings_before(config):
            screen.say(line)
        screen.say(f"Study {config.name}: {config.num_trials} trials; preparing.")
        yield


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
