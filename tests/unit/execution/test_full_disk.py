"""A trial whose disk is full for a while: nothing is lost, and nothing fails."""

import dataclasses
import itertools
from pathlib import Path

import pytest
import torch

from diffrop.checkpoint_file import read_checkpoint
from diffrop.execution.run_task import _run_and_report
from diffrop.execution.trial import TrialTask
from diffrop.record.json_files import read_json_lines
from diffrop.record.trial_state import RungReached, Stopped, TrialReport
from diffrop.scoring.samples import ScoringInputs
from tests.made.full_disk import FullDisk, full_disk
from tests.made.small import small_inputs, small_task

__all__ = ["full_disk"]
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def inputs() -> ScoringInputs:
    return small_inputs()


def task_in(folder: Path, wait_s: float) -> TrialTask:
    return dataclasses.replace(small_task(folder / "study/t000"), outage_wait_s=wait_s)


def run(task: TrialTask, inputs: ScoringInputs) -> list[TrialReport]:
    reports: list[TrialReport] = []
    _run_and_report(task, inputs, CPU, reports.append)
    return reports


def content(task: TrialTask) -> tuple[list[object], dict[str, torch.Tensor]]:
    """Scores and curves but their times, and the tensors of the last checkpoint."""
    cards = [(card.images_seen, card.scores, card.values) for card in task.folder.scores()]
    curves = read_json_lines(task.folder.training().curves_path, dict)
    rows = [(row["images_seen"], row.get("loss/ddpm")) for row in curves]
    return [cards, rows], read_checkpoint(task.folder.scored_checkpoint(128)).tensors


@pytest.mark.parametrize("room_for", [2, 3])
def test_trial_on_a_disk_that_is_full_time_and_again_is_as_one_with_room(
    tmp_path: Path, inputs: ScoringInputs, full_disk: FullDisk, room_for: int
) -> None:
    undisturbed, task = task_in(tmp_path / "a", 60), task_in(tmp_path / "b", 60)
    expected = run(undisturbed, inputs)
    full_disk.plan = itertools.cycle([True, *[False] * room_for])
    reports = run(task, inputs)
    assert full_disk.num_refused >= 5
    full_disk.plan = itertools.repeat(False)
    assert [r.images_seen for r in reports if isinstance(r, RungReached)] == [64, 128]
    assert len(expected) == len(reports)
    stored, weights = content(task)
    assert stored == content(undisturbed)[0]
    for name, tensor in content(undisturbed)[1].items():
        torch.testing.assert_close(weights[name], tensor, rtol=0, atol=0, equal_nan=True)
    segments = task.folder.training().segments()
    assert sum(part.end - part.begin for part in segments) == 128
    assert not task.folder.waiting_mark.exists()


@pytest.mark.parametrize("num_writes", [0, 1, 4, 8])
def test_trial_that_finds_no_room_in_time_stops_with_the_reason_and_goes_on_later(
    tmp_path: Path, inputs: ScoringInputs, full_disk: FullDisk, num_writes: int
) -> None:
    undisturbed, task = task_in(tmp_path / "a", 0), task_in(tmp_path / "b", 0)
    run(undisturbed, inputs)
    full_disk.plan = itertools.chain([False] * num_writes, itertools.repeat(True))
    *_, last = run(task, inputs)
    assert isinstance(last, Stopped)
    assert "no room on the disk of" in last.outage and "--resume" in last.outage
    full_disk.plan = itertools.repeat(False)
    *_, last = run(task, inputs)
    assert isinstance(last, RungReached) and last.final
    assert content(task)[0] == content(undisturbed)[0]
