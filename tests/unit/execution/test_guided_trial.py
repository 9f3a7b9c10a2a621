"""Trials that are scored with an earlier checkpoint of theirs as guide."""

import dataclasses
from pathlib import Path

import pytest
import torch

from diffrop.checkpoint_file import read_checkpoint
from diffrop.config import ExperimentConfig
from diffrop.diffusion.schedule import NoiseSchedule
from diffrop.errors import CheckpointError
from diffrop.execution.trial import TrialTask, run_trial
from diffrop.metrics.report import balanced_labels
from diffrop.scoring.samples import ScoringInputs, draw_samples
from diffrop.scoring.score import score_choice
from diffrop.study.rung import Rung, last_rung
from diffrop.study.sampling_choice import sampling_choices
from diffrop.training.checkpoint import config_of
from diffrop.training.garbage import collect_garbage
from diffrop.training.identity import forked
from diffrop.training.network import load_ema, load_guide
from diffrop.training.trainer import Trainer
from tests.made.small import small_experiment, small_inputs, small_task

CPU = torch.device("cpu")
GUIDED = {
    "evaluation__guides": [None, 0.25],
    "evaluation__guidance_scales": [0, 1],
    "evaluation__omega_search": "grid",
    "training__keep_checkpoints": 1,
}


@pytest.fixture(scope="module")
def inputs() -> ScoringInputs:
    return small_inputs()


def run(task: TrialTask, inputs: ScoringInputs) -> None:
    run_trial(task, inputs, CPU, lambda report: None)


def guided(**changes: object) -> ExperimentConfig:
    return small_experiment(**GUIDED | changes)


def curve(task: TrialTask) -> list[list[tuple[float, str, float]]]:
    return [
        [(point.omega, point.sampler, point.scores["fid/all"]) for point in card.points]
        for card in task.folder.scores()
    ]


def test_every_rung_is_scored_with_its_guides_which_stay(
    tmp_path: Path, inputs: ScoringInputs
) -> None:
    task = small_task(tmp_path / "study/t000", guided())
    run(task, inputs)
    names = [(0, "ddim-2"), (1, "ddim-2"), (1, "ddim-2-guide-0.25")]
    assert [[point[:2] for point in card] for card in curve(task)] == [names, names]
    folder = task.store.folder(task.key)
    assert folder.images() == [32, 64, 128]  # 0.25 of 64, in whole batches, and of 128, are 32
    assert folder.pins() == {"study": [32, 64, 128]}
    collect_garbage(task.store, "study", [task.key])
    assert folder.images() == [32, 64, 128]

    # The stored score is that of the two networks, put together by hand.
    checkpoint = read_checkpoint(folder.path_of(128))
    networks = [load_ema(read_checkpoint(folder.path_of(n)), CPU) for n in (128, 32)]
    (choice,) = [c for c in sampling_choices(task.config) if c.sampling.guide is not None]
    schedule = NoiseSchedule.linear(task.config.diffusion)
    report = score_choice(
        {None: networks[0]}, schedule, task.config, inputs, choice, 40, {0.25: networks[1]}
    )
    assert report.scores["fid/all"] == pytest.approx(curve(task)[1][2][2], rel=1e-9)
    again = load_guide(checkpoint, CPU, 0.25)
    assert again is not None
    for ours, theirs in zip(again.parameters(), networks[1].parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_model_as_its_own_guide_scores_as_without_guidance(
    tmp_path: Path, inputs: ScoringInputs
) -> None:
    config = guided(evaluation__guides=[0.25], training__num_images=32)
    task = small_task(tmp_path / "study/t000", config, (last_rung(config),))  # of one batch
    run(task, inputs)
    ((none, by_itself),) = curve(task)
    assert (none[0], by_itself[0]) == (0, 1)
    assert by_itself[2] == pytest.approx(none[2], rel=1e-12)  # sums are not the same to the bit


def test_guides_that_were_not_kept_are_trained_again_to_the_bit(
    tmp_path: Path, inputs: ScoringInputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = small_task(tmp_path / "whole/study/t000", guided())
    run(expected, inputs)
    plain = small_task(tmp_path / "runs/other/t000", small_experiment())
    run(plain, inputs)
    assert plain.store.folder(plain.key).images() == [64, 128]
    steps: list[int] = []
    step = Trainer.step

    def counted(trainer: Trainer) -> dict[str, torch.Tensor]:
        steps.append(trainer.images_seen)
        return step(trainer)

    monkeypatch.setattr(Trainer, "step", counted)
    task = small_task(tmp_path / "runs/study/t000", guided())
    assert task.key == plain.key
    run(task, inputs)
    assert steps == [0] and curve(task) == curve(expected)

    # One that is damaged, and a score that is gone.
    path = task.store.folder(task.key).path_of(32)
    path.write_bytes(path.read_bytes()[:-1000])
    task.folder.score_path(128).unlink()
    steps.clear()
    run(task, inputs)
    assert steps == [0] and curve(task) == curve(expected)


def test_final_training_alone_keeps_its_guide(tmp_path: Path, inputs: ScoringInputs) -> None:
    config = guided(evaluation__guides=[], evaluation__guidance_scales=[1], sampling__guide=0.5)
    task = small_task(tmp_path / "study/final", config, (last_rung(config),))
    run(task, inputs)
    assert task.store.folder(task.key).images() == [64, 128]
    assert curve(task)[0][0][:2] == (1, "ddim-2-guide-0.5")


def test_child_is_guided_by_what_the_training_above_it_kept(
    tmp_path: Path, inputs: ScoringInputs
) -> None:
    parent = small_task(tmp_path / "study/t000", guided(training__num_images=256))
    rungs = [
        Rung(images=count, num_samples=40, num_steps=None, final=count == 256)
        for count in (64, 128, 256)
    ]
    parent = dataclasses.replace(parent, rungs=tuple(rungs))
    assert parent.guides == {32, 64}
    parent = dataclasses.replace(parent, rungs=tuple(rungs[:2]))
    run(parent, inputs)
    config = guided(training__num_images=256, training__learning_rate=1e-3)
    digest = inputs.dataset.train_digest
    identity = forked(parent.training, 128, config, 1, digest)
    child = small_task(tmp_path / "study/t001", config, (rungs[2],), training=identity)
    run(child, inputs)
    folder = child.store.folder(child.key)
    assert folder.images() == [256]
    found = load_guide(folder.read(256), CPU, 0.25)
    assert found is not None
    labels = balanced_labels(10, 10)

    def images(network: torch.nn.Module) -> torch.Tensor:
        schedule, sampling = NoiseSchedule.linear(config.diffusion), config.sampling
        return draw_samples(network, schedule, sampling, (1, 8, 8), labels, 0.0, 10, 0)

    above = load_ema(parent.store.folder(parent.key).read(64), CPU)
    assert torch.equal(images(found), images(above))
    collect_garbage(child.store, "study", [child.key])
    assert parent.store.folder(parent.key).images() == [64, 128]

    parent.store.folder(parent.key).remove(64)
    child.folder.score_path(256).unlink()
    with pytest.raises(CheckpointError, match="64"):
        run(child, inputs)


def test_guide_that_is_not_there_is_refused_with_the_shares_that_are(
    tmp_path: Path, inputs: ScoringInputs
) -> None:
    task = small_task(tmp_path / "study/t000")
    run(task, inputs)
    folder = task.store.folder(task.key)
    checkpoint = folder.read(128)
    message = r"guide is 0\.75, the checkpoint at 96 images.*; allowed: 0\.5 \(64 images\)$"
    with pytest.raises(ValueError, match=message):
        load_guide(checkpoint, CPU, 0.75)
    assert load_guide(checkpoint, CPU, 0.5) is not None
    folder.remove(64)
    with pytest.raises(ValueError, match="allowed: none, the null label"):
        load_guide(checkpoint, CPU, 0.5)
    assert load_guide(checkpoint, CPU, None) is None
    assert config_of(checkpoint.card).sampling.guide is None
