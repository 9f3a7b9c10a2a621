import dataclasses
import io
from pathlib import Path

import pytest

from diffrop.analysis.data.load import load_study
from diffrop.analysis.report.render import study_answer
from diffrop.analysis.report.summary import answer
from diffrop.console.call import Call
from diffrop.console.commands import StudyCommand
from diffrop.console.last_screen import SCREEN_LINES, print_places, print_results
from diffrop.console.results import MAX_ROWS
from diffrop.console.screens import View
from diffrop.console.shown import LOADING
from diffrop.console.study_launch import chosen_view, typed_command, warnings_before
from diffrop.console.terminal import Terminal
from diffrop.engine.preparing import Preparing
from diffrop.engine.result_files import write_results
from diffrop.engine.run import FinishedStudy
from diffrop.record.study_folder import StudyFolder
from diffrop.study.space import Parameter, SearchSpace
from tests.made import no_pages
from tests.made.finished_study import open_finished_study, write_finished_study
from tests.made.small import SPACE, small_experiment, small_study
from tests.made.written_report import write_report

LONG = "python studies/run_tau_sweep.py --data-root 'my photos' " + " ".join(
    f"--set training.key_{index}=0.001" for index in range(12)
)
"""A command of six lines of 80 columns."""


def test_command_is_stored_as_it_was_typed_without_credentials() -> None:
    argv = ["--trials", "4", "--storage", "postgresql://me:secret@host/db", "--study-name", "a b"]
    command = typed_command(Call("python studies/run_tau_sweep.py", argv))
    assert command.startswith("python studies/run_tau_sweep.py --trials 4 --storage ")
    assert "secret" not in command and command.endswith("--study-name 'a b'")


@pytest.mark.parametrize(
    ("json_lines", "quiet", "view"),
    [(True, False, "json"), (False, True, "quiet"), (False, False, "lines")],
)
def test_view_is_that_of_the_options(json_lines: bool, quiet: bool, view: View) -> None:
    assert chosen_view(json_lines, quiet) == view


def test_training_within_its_warmup_is_told_before_anything_starts() -> None:
    experiment = small_experiment(training__warmup_images=63)
    assert warnings_before(dataclasses.replace(small_study(), experiment=experiment)) == []
    experiment = small_experiment(training__warmup_images=128_000)
    (line,) = warnings_before(dataclasses.replace(small_study(), experiment=experiment))
    assert line.startswith("warning: training.warmup_images is 128,000 in a training of 128")
    assert "No best will be named" in line and "To fix: " in line


def refused(root: Path) -> None:
    """Run the command of a study that must be refused."""
    argv = ["--runs-root", str(root), "--study-name", "s"]
    with pytest.raises(SystemExit) as ended:
        StudyCommand("tau", "A study.", SPACE, pages=no_pages).main(Call("x", argv, {}))
    assert ended.value.code == 2


def test_new_study_is_seen_to_prepare_before_its_libraries_are_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def refusal(*_: object) -> None:
        preparing = Preparing(StudyFolder(tmp_path / "runs" / "s"))
        seen.extend(activity.what for activity in preparing.activities())
        raise ValueError("it does not fit this machine")

    monkeypatch.setattr("diffrop.console.study_launch.on_this_machine", refusal)
    refused(tmp_path / "runs")
    assert seen == [LOADING] and not (tmp_path / "runs").exists()


def test_folder_that_is_there_is_left_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "mine").touch()
    refused(tmp_path)
    shown = capsys.readouterr()
    assert "exists in" in shown.err and "preparing" not in shown.out
    assert [path.name for path in tmp_path.glob("**/*")] == ["s", "mine"]


@pytest.mark.parametrize(("longest", "warned"), [(63, False), (120, True), (128, True)])
def test_warmups_that_are_searched_are_judged_too(longest: int, warned: bool) -> None:
    searched = Parameter(
        name="training.warmup_images", low=8, high=longest, source="the test's own"
    )
    space = SearchSpace(parameters=(searched,))
    experiment = small_experiment(training__warmup_images=16)
    lines = warnings_before(dataclasses.replace(small_study(), experiment=experiment, space=space))
    assert len(lines) == warned
    for line in lines:
        assert f"training.warmup_images is {longest} in a training of 128 images" in line
        assert "Others have shorter ones." in line and "No best" not in line


def shown_lines(lines: list[str], width: int) -> list[str]:
    """Return the lines that a terminal shows: it breaks what is longer than it is wide."""
    return [
        line[at : at + width]
        for line in lines
        for at in range(0, max(1, len(line.rstrip())), width)
    ]


def last_screen(finished: FinishedStudy, width: int) -> list[str]:
    """Return the lines of the last screen: the answer and all after it."""
    file = io.StringIO()
    console = Terminal(file=file, width=width)
    print_results(finished, console)
    print_places(finished, console)
    lines = file.getvalue().splitlines()
    begin = next(i for i, line in enumerate(lines) if line.startswith(finished.answer[:20]))
    return lines[begin:]


@pytest.mark.parametrize("command", ["command", LONG])
@pytest.mark.parametrize(("interrupted", "num_untracked"), [(False, 0), (True, 0), (False, 9)])
def test_last_screen_fits_whatever_stands_below_the_table(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    interrupted: bool,
    num_untracked: int,
) -> None:
    monkeypatch.chdir(tmp_path)
    write_finished_study(tmp_path, command)
    store, result = open_finished_study(tmp_path)
    write_results(result, store.folder)
    (store.path / "report.html").touch()
    best = result.ranked[0]
    more = [dataclasses.replace(best, number=number, rank=number) for number in range(4, 20)]
    shown = dataclasses.replace(result, trials=[*result.trials, *more])
    uri = f"sqlite:////home/somebody/{'projects/' * 4}diffrop/runs/mlflow.db"
    refusal = "the budget of 2 GPU-hours is spent, and another trial takes 0.4" * interrupted
    untracked = [
        f"trial t{number:03d} is not completely in MLflow at http://localhost:5000: the server "
        "did not answer in time"
        for number in range(num_untracked)
    ]
    finished = FinishedStudy(
        shown, store.path, {}, uri, untracked, interrupted, refusal, study_answer(store.path)
    )
    lines = shown_lines(last_screen(finished, 80), 80)
    told = [line for line in lines if "not completely in MLflow" in line or "So are 8" in line]
    assert len(told) == 2 * (num_untracked > 0)
    assert len(lines) < SCREEN_LINES
    num_rows = sum(line.startswith("t0") for line in lines)
    assert len(lines) == SCREEN_LINES - 1 or num_rows == MAX_ROWS
    assert "".join(lines).endswith("--study-name small --resume --confirm 3 --seeds 5")
    assert ("Interrupted." in lines) is interrupted


@pytest.mark.parametrize("width", [80, 40])
@pytest.mark.parametrize("num_trials", [4, 40])
def test_last_screen_has_answer_table_places_and_next_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, width: int, num_trials: int
) -> None:
    monkeypatch.chdir(tmp_path)
    write_finished_study(tmp_path)
    store, result = open_finished_study(tmp_path)
    write_results(result, store.folder)
    write_report(store.path)
    second = result.ranked[0]
    more = [
        dataclasses.replace(second, number=number, rank=number) for number in range(4, num_trials)
    ]
    config = dataclasses.replace(result.config, num_trials=num_trials)
    shown = dataclasses.replace(result, config=config, trials=[*result.trials, *more])
    found = study_answer(store.path)
    assert found.startswith(answer(load_study(store.path)).headline)
    finished = FinishedStudy(shown, store.path, {}, "sqlite:////a/m.db", [], False, "", found)
    lines = last_screen(finished, width)
    table = lines[lines.index("") + 1 :]
    head, *rows = table
    assert {"trial", "form", "tau_0", "all"} <= {*head.split()}
    assert rows[0].startswith("t001") and "40.00" in rows[0].split()
    assert any(row.startswith("t000") for row in rows)
    text = " ".join(" ".join(lines).split())
    num_shown = sum(row.startswith("t0") for row in rows)
    left_out = f"{num_trials - num_shown} more trials"
    assert (left_out in text) is (num_trials > num_shown)
    step = "--study-name small --resume --confirm"
    assert step in text and "report.html" in text
    if width == 80:
        assert len(lines) < SCREEN_LINES
        assert max(len(line.rstrip()) for line in lines if "mlflow ui" not in line) <= 80
    if num_trials == 4:
        page = (store.path / "report.html").read_text()
        assert lines[-1].removeprefix("confirm").strip() in page
