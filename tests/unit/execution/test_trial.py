import dataclasses
from pathlib import Path

import pytest
import torch

from diffrop.errors import StopRequested
from diffrop.execution.trial import TrialTask, run_trial
from diffrop.metrics.features import FeatureExtractor
from diffrop.record.json_files import read_json_lines
from diffrop.record.trial_state import RungReached, TrialReport
from diffrop.scoring.samples import ScoringInputs
from diffrop.study.rung import Rung
from diffrop.training import session, stop
from diffrop.training.identity import checkpoint_key, identify
from diffrop.training.stop import withdraw_stop
from diffrop.training.trainer import Trainer
from tests.made.damages import DAMAGES
from tests.made.faults import fault
from tests.made.small import RowBrightness, small_experiment, small_inputs, small_task

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def inputs() -> ScoringInputs:
    return small_inputs()


def run(task: TrialTask, inputs: ScoringInputs) -> list[RungReached]:
    reports: list[TrialReport] = []
    run_trial(task, inputs, CPU, reports.append)
    return [report for report in reports if isinstance(report, RungReached)]


def rows(task: TrialTask) -> list[int]:
    return [
        row["images_seen"] for row in read_json_lines(task.folder.training().curves_path, dict)
    ]


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The images seen before every step that any trainer takes."""
    taken: list[int] = []
    step = Trainer.step

    def counted(trainer: Trainer) -> dict[str, torch.Tensor]:
        taken.append(trainer.images_seen)
        return step(trainer)

    monkeypatch.setattr(Trainer, "step", counted)
    return taken


def test_trial_reports_every_rung_and_leaves_its_files(
    tmp_path: Path, inputs: ScoringInputs
) -> None:
    task = small_task(tmp_path / "study/t000")
    reports = run(task, inputs)
    assert [(r.images_seen, r.final) for r in reports] == [(64, False), (128, True)]
    assert reports[1].values == (reports[1].scores["fid/all"],)
    assert {r.training_key for r in reports} == {task.key}
    cards = task.folder.scores()
    assert [card.num_samples["all"] for card in cards] == [20, 40]
    assert rows(task) == [32, 64, 96, 128]
    lines = (task.directory / "training/metrics.jsonl").read_text().splitlines()
    assert any("pcl/grad_ratio" in line for line in lines)
    assert len(list((task.directory / "samples").glob("*.png"))) == 2
    assert not (task.directory / "training").readlink().is_absolute()
    assert len(list((task.directory / "training").glob("images_*.safetensors"))) == 2


class KilledError(Exception):
    pass


def die(report: TrialReport) -> None:
    raise KilledError


def test_restarted_trial_repeats_nothing_that_was_done(
    tmp_path: Path, inputs: ScoringInputs, steps: list[int]
) -> None:
    task = small_task(tmp_path / "study/t000")
    with pytest.raises(KilledError):
        run_trial(task, inputs, CPU, die)  # scored at the first rung, then killed
    first = task.folder.scores()[0]
    reports = run(task, inputs)
    assert task.folder.scores()[0].time == first.time
    assert steps == [0, 32, 64, 96]
    assert reports == run(small_task(tmp_path / "other/study/t000"), inputs)
    steps.clear()
    assert run(task, inputs) == reports and steps == []


@fault(14, "a damaged file before a restart")
def test_trial_goes_on_from_the_checkpoint_before_a_damaged_one(
    tmp_path: Path, inputs: ScoringInputs
) -> None:
    task = small_task(tmp_path / "study/t000")
    whole = run(task, inputs)
    newest = task.store.folder(task.key).files()[-1]
    newest.write_bytes(newest.read_bytes()[:-1000])
    next((task.directory / "scores").glob("*128.json")).unlink()
    assert run(task, inputs) == whole
    log = (task.directory / "trial.log").read_text()
    assert "damaged" in log or "readable" in log
    assert rows(task) == [32, 64, 96, 128]
    assert [(s.begin, s.end) for s in task.store.folder(task.key).record.segments()] == [
        (0, 64), (64, 128), (64, 128),
    ]  # fmt: skip


@pytest.mark.parametrize("how", ["truncated", "empty", "null", "folder", "first field missing"])
@fault(29, "a damaged score before a restart")
def test_trial_with_a_damaged_score_is_scored_again(
    tmp_path: Path, inputs: ScoringInputs, steps: list[int], how: str
) -> None:
    task = small_task(tmp_path / "study/t000")
    whole = run(task, inputs)
    path = task.folder.score_path(128)
    DAMAGES[how](path)
    steps.clear()
    assert run(task, inputs) == whole and steps == []
    assert path.is_file() and path.with_name(f"{path.name}.damaged").exists()
    assert "images_000000000128.json.damaged" in (task.directory / "trial.log").read_text()


def test_trials_with_the_same_training_share_it_over_studies(
    tmp_path: Path, inputs: ScoringInputs, steps: list[int]
) -> None:
    first = small_task(tmp_path / "one/t000")
    shared = small_task(tmp_path / "two/t003", small_experiment(evaluation__seed=7))
    assert shared.key == first.key
    reports = run(first, inputs)
    assert steps == [0, 32, 64, 96]
    again = run(shared, inputs)
    assert steps == [0, 32, 64, 96]
    assert [r.images_seen for r in again] == [r.images_seen for r in reports]
    assert again[0].values != reports[0].values  # other noise, the same weights
    assert first.store.folder(first.key).pins() == {"one": [64, 128], "two": [64, 128]}


def test_rung_below_what_was_trained_is_trained_again_to_the_bit(
    tmp_path: Path, inputs: ScoringInputs, steps: list[int]
) -> None:
    run(small_task(tmp_path / "one/t000"), inputs)
    between = (
        Rung(images=96, num_samples=20, num_steps=None, final=False),
        Rung(images=128, num_samples=40, num_steps=None, final=True),
    )
    steps.clear()
    task = small_task(tmp_path / "two/t000", rungs=between)
    reports = run(task, inputs)
    assert steps == [64]  # on from 64, and 128 was there
    alone = run(small_task(tmp_path / "alone/two/t000", rungs=between), inputs)
    assert reports == alone
    assert rows(task) == [32, 64, 96, 128]


def test_scores_of_another_training_are_set_aside(tmp_path: Path, inputs: ScoringInputs) -> None:
    task = small_task(tmp_path / "study/t000")
    run(task, inputs)
    config = small_experiment(contrastive__tau_0=9.0)
    other = small_task(tmp_path / "study/t000", config)
    reports = run(other, inputs)
    assert reports == run(small_task(tmp_path / "alone/study/t000", config), inputs)
    assert len(list(task.directory.glob(f"scores-{task.key}-*/*.json"))) == 2


@fault(43, "the file `stop`")
@pytest.mark.parametrize("file", ["stop", "stop.me"])
def test_stopped_trial_saves_a_checkpoint_and_goes_on_from_it(
    tmp_path: Path,
    inputs: ScoringInputs,
    monkeypatch: pytest.MonkeyPatch,
    steps: list[int],
    file: str,
) -> None:
    task = small_task(tmp_path / "study/t000", driver="me")
    whole = run(small_task(tmp_path / "alone/study/t000"), inputs)
    steps.clear()
    counted = Trainer.step
    reports: list[TrialReport] = []

    def asked(trainer: Trainer) -> dict[str, torch.Tensor]:
        (tmp_path / "study" / file).touch()
        return counted(trainer)

    with monkeypatch.context() as patch, pytest.raises(StopRequested, match="at 32 images as"):
        patch.setattr(stop, "LOCAL_S", 0.0)
        patch.setattr(Trainer, "step", asked)
        run_trial(task, inputs, CPU, reports.append)
    assert reports == [] and steps == [0]
    assert "ERROR" not in task.folder.log.read_text()
    assert task.store.folder(task.key).images() == [32]
    withdraw_stop(tmp_path / "study")
    assert run(task, inputs) == whole
    assert steps == [0, 32, 64, 96]


class StopsWhileScored(RowBrightness):
    """An extractor under which a request to stop arrives."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.file, self.calls = file, 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return features."""
        self.calls += 1
        self.file.touch()
        return super().forward(images)


def test_trial_stops_in_the_midst_of_its_score_and_is_scored_alike_later(
    tmp_path: Path, inputs: ScoringInputs, monkeypatch: pytest.MonkeyPatch, steps: list[int]
) -> None:
    monkeypatch.setattr(stop, "LOCAL_S", 0.0)
    network = StopsWhileScored(tmp_path / "study/stop")
    extractor = FeatureExtractor(network, inputs.extractor.name, batch_size=10)
    task, stopping = (
        small_task(tmp_path / "study/t000"),
        dataclasses.replace(inputs, extractor=extractor),
    )
    with pytest.raises(StopRequested):
        run(task, stopping)
    assert network.calls == 1 and steps == [0, 32]  # of two batches, at the first rung
    assert task.folder.scores() == []
    with pytest.raises(StopRequested):
        run(task, stopping)  # while the request stands, nothing begins
    assert network.calls == 1
    withdraw_stop(tmp_path / "study")
    assert [r.images_seen for r in run(task, inputs)] == [64, 128] and steps == [0, 32, 64, 96]
    whole = small_task(tmp_path / "other/study/t000")
    run(whole, inputs)
    pairs = zip(task.folder.scores(), whole.folder.scores(), strict=True)
    assert all(one.scores == other.scores for one, other in pairs)


@fault(43, "the file `stop-HOSTNAME`")
@pytest.mark.parametrize("host", ["here", "elsewhere"])
def test_a_nodes_notice_stops_that_node_alone(
    tmp_path: Path, inputs: ScoringInputs, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "here")
    task = small_task(tmp_path / "study/t000")
    task.directory.parent.mkdir()
    (tmp_path / f"study/stop-{host}").touch()
    if host == "here":
        with pytest.raises(StopRequested):
            run(task, inputs)
    else:
        assert len(run(task, inputs)) == 2


@fault(42, "a process that holds the training")
def test_trial_waits_while_another_trains_the_same(
    tmp_path: Path, inputs: ScoringInputs, monkeypatch: pytest.MonkeyPatch, steps: list[int]
) -> None:
    run(small_task(tmp_path / "one/t000"), inputs)
    task = small_task(tmp_path / "two/t000")
    folder = task.store.folder(task.key)
    hidden = [path.rename(path.with_suffix(".hidden")) for path in folder.files()]
    steps.clear()

    def finish(seconds: float) -> None:  # the other one ends while this one sleeps
        for path in hidden:
            path.rename(path.with_suffix(".safetensors"))
        holder.__exit__(None, None, None)

    holder = folder.try_hold()
    assert holder.__enter__()
    monkeypatch.setattr(session.time, "sleep", finish)
    assert len(run(task, inputs)) == 2
    assert steps == []
    assert "another trial trains the same" in (task.directory / "trial.log").read_text()


def test_prefix_is_trained_unscored_and_trials_fork_from_it(
    tmp_path: Path, inputs: ScoringInputs, steps: list[int]
) -> None:
    rung = Rung(images=64, num_samples=40, num_steps=None, final=True)
    prefix = small_task(tmp_path / "study/prefix", small_experiment("none"), (rung,))
    prefix = dataclasses.replace(prefix, scored=False)
    assert run(prefix, inputs) == [RungReached(images_seen=64, final=True)]
    assert not (prefix.directory / "scores").exists()
    parent = checkpoint_key(prefix.key, 64)
    after = (dataclasses.replace(rung, images=128),)
    for number, form in enumerate(("reciprocal", "exponential")):
        task = small_task(tmp_path / f"study/t{number:03d}", small_experiment(form), after, parent)
        assert [r.images_seen for r in run(task, inputs)] == [128]
    assert steps == [0, 32] + 2 * [64, 96]
    assert identify(task.config, 1, inputs.dataset.train_digest).key != task.key
