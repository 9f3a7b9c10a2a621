import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml

from diffrop.config import ExperimentConfig
from diffrop.console.screens import QuietScreen
from diffrop.data.held_out import load_split
from diffrop.engine.drivers import hold
from diffrop.engine.final_training import FinalResult
from diffrop.errors import StudyError
from diffrop.record.score_card import write_score
from diffrop.record.trial_folder import TrialFolder
from diffrop.scoring.samples import ScoringInputs
from diffrop.storage import write_atomically
from diffrop.study.config import LaunchConfig
from diffrop.tables import run
from diffrop.tables.plan import ROW_FILE, TablePlan
from diffrop.tables.run import TableInputs, run_table, stored_result
from diffrop.tables.written import terminal_lines, written_table
from tests.made.commands import command
from tests.made.small import small_inputs
from tests.made.tables import card_of, plan_of
from tests.made.told import ToldScreen

QUIET = QuietScreen()
TINY = ["--table", "4", "--rows", "ddpm,reweighting", "--images", "64", "--num-samples", "20"]


class Trainings:
    """Takes the place of train_final: keeps what was trained, and stores a score."""

    def __init__(self, failing: str = "") -> None:
        self.rows: list[str] = []
        self.failing = failing

    def __call__(
        self, config: ExperimentConfig, inputs: ScoringInputs, directory: Path, *rest: Any
    ) -> FinalResult:
        self.rows.append(directory.name)
        if directory.name == self.failing:
            return FinalResult(None, "the loss is not finite at step 1", [])
        card = card_of(config)
        path = TrialFolder(directory).score_path(card.images_seen)
        write_score(path, card)
        return FinalResult(card, "", [])


def run_with(plan: TablePlan, trainings: Trainings, patch: pytest.MonkeyPatch) -> list[Any]:
    patch.setattr(run, "train_final", trainings)
    launch = LaunchConfig(runs_root=str(plan.directory.parent))
    return run_table(plan, TableInputs(small_inputs(), None), launch, QUIET)


def test_finished_rows_are_read_and_the_others_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = Trainings(), Trainings()
    before = run_with(plan_of(4, tmp_path / "t", ["ddpm"]), first, monkeypatch)
    whole = plan_of(4, tmp_path / "t")
    assert stored_result(whole, "diffrop") is None
    results = run_with(whole, second, monkeypatch)
    assert (first.rows, second.rows) == (["ddpm"], ["diffrop", "reweighting"])
    assert results[0] == before[0]
    third = Trainings()
    assert run_with(whole, third, monkeypatch) == results
    assert third.rows == []


def test_a_score_before_the_end_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of(4, tmp_path / "t", ["ddpm"])
    card = card_of(plan.configs["ddpm"])
    path = TrialFolder(plan.row_directory("ddpm")).score_path(card.images_seen)
    write_score(path, dataclasses.replace(card, final=False))
    assert stored_result(plan, "ddpm") is None
    write_atomically(path.parents[1] / ROW_FILE, yaml.safe_dump(plan.settings("ddpm")))
    assert stored_result(plan, "ddpm") is None
    trainings = Trainings()
    run_with(plan, trainings, monkeypatch)
    assert trainings.rows == ["ddpm"]


def test_failed_row_does_not_stop_the_others_and_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of(4, tmp_path / "t")
    results = run_with(plan, Trainings(failing="diffrop"), monkeypatch)
    assert [bool(result.failure) for result in results] == [False, True, False]
    again = Trainings()
    assert not any(result.failure for result in run_with(plan, again, monkeypatch))
    assert again.rows == ["diffrop"]


def test_a_table_runs_once_at_a_time(tmp_path: Path) -> None:
    plan = plan_of(4, tmp_path / "t", ["ddpm"])
    plan.directory.mkdir()
    with hold(plan.directory), pytest.raises(StudyError, match="running in another process"):
        run_table(plan, TableInputs(None, None), LaunchConfig(), QUIET)


def test_classifier_table_trains_model_and_classifiers(tmp_path: Path) -> None:
    plan = plan_of(3, tmp_path / "t", ["long-tailed", "ddpm"])
    assert plan.classifier is not None
    short = dataclasses.replace(plan.classifier.config, num_images=64, batch_size=32)
    plan = dataclasses.replace(plan, classifier=dataclasses.replace(plan.classifier, config=short))
    inputs = TableInputs(small_inputs(), load_split(plan.data))
    launch, screen = LaunchConfig(runs_root=str(tmp_path)), ToldScreen()
    results = run_table(plan, inputs, launch, screen)
    assert {"drawing 20 images", "training a classifier on 710 images"} <= {*screen.words}
    counts = [r.classification["num_training_images"] for r in results if r.classification]
    assert counts[1] == counts[0] + 20
    assert results[1].card is not None
    assert [stored_result(plan, row) for row in plan.rows] == results
    lines = terminal_lines(written_table(plan, results, inputs.split))
    assert max(map(len, lines)) <= 80
    assert any(line.startswith("+ DDPM's") and line.endswith("44.08") for line in lines)


def test_command_trains_writes_resumes_and_refuses_another_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def made(
        config: Any, dataset: Any, root: Path, trusted: bool = False, tell: Any = None
    ) -> tuple[ScoringInputs, dict[str, Any]]:
        return small_inputs(dataset), {}

    monkeypatch.setattr(run, "scoring_inputs", made)
    main = command("run_paper_tables")
    options = [
        *TINY,
        "--omegas",
        "0",
        "--set",
        "sampling.num_steps=2",
        "--runs-root",
        str(tmp_path),
        "--name",
        "t",
        "--set",
    ]
    assert main([*options, "training.seed=1", "--dry-run"], {}) == 0
    assert "warning" not in capsys.readouterr().out
    assert main([*options, "training.warmup_images=60", "--dry-run"], {}) == 0
    warned = "warning: training.warmup_images is 60 in a training of 64 images: 93% of it pass"
    assert warned in " ".join(capsys.readouterr().out.split())
    assert not (tmp_path / "t").exists()
    assert main([*options, "training.seed=1"], {}) == 0
    first = (tmp_path / "t" / "table.csv").read_text()
    shown = capsys.readouterr().out
    assert "DDPM + Reweighting" in shown and "dpmpp-2" in shown
    assert main([*options, "training.seed=1", "--resume"], {}) == 0
    assert "row 2 of 2: reweighting, done before" in capsys.readouterr().out
    assert (tmp_path / "t" / "table.csv").read_text() == first
    with pytest.raises(SystemExit):
        main([*options, "training.seed=2", "--resume"], {})
    message = capsys.readouterr().err
    assert "config.training.seed 1 -> 2" in message and message.count("\n") == 1
