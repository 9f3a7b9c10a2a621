"""How far a score is, while it is made."""

import pytest

from diffrop.config import ExperimentConfig
from diffrop.diffusion.schedule import NoiseSchedule
from diffrop.record.scoring_now import ScoringNow
from diffrop.scoring import watch as module
from diffrop.scoring.sampling_search import Round
from diffrop.scoring.score import score_model
from diffrop.scoring.watch import ScoringWatch, pieces_of
from diffrop.study.rung import Rung
from diffrop.study.sampling_choice import sampling_choices
from tests.made.denoiser import Denoiser
from tests.made.small import small_experiment, small_inputs

LAST = Rung(images=128, num_samples=40, num_steps=None, final=True)


def notes_of(config: ExperimentConfig) -> tuple[list[ScoringNow], int]:
    """Return what a score says of itself, and how many samples it drew."""
    notes: list[ScoringNow] = []
    schedule = NoiseSchedule.linear(config.diffusion)
    models = {None: Denoiser()}
    found = score_model(
        models, schedule, config, small_inputs(), LAST, 128, None, note=notes.append
    )
    return notes, found.card.samples_drawn


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Notes come at each look."""
    monkeypatch.setattr(ScoringWatch.__init__, "__defaults__", (0.0,))


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize("method", ["grid", "halving"])
def test_images_only_grow_and_end_at_what_was_drawn(method: str) -> None:
    config = small_experiment(
        evaluation__guidance_scales=[0.0, 0.5, 1.0, 2.0], evaluation__omega_search=method
    )
    notes, drawn = notes_of(config)
    images = [note.images for note in notes]
    assert images == sorted(images) and images[0] == 0
    assert images[-1] == drawn <= notes[-1].num_images
    assert len({image % 1 for image in images}) > 1 or len(set(images)) > 8  # within a batch, too
    assert [note.round for note in notes] == sorted(note.round for note in notes)
    assert notes[-1].round == notes[-1].num_rounds
    assert {note.part for note in notes} == {"sampling", "features", "metrics"}
    assert {note.omega for note in notes} == {0.0, 0.5, 1.0, 2.0}
    assert notes[-1].part == "metrics" and "metrics" in notes[-1].text


def test_time_left_is_what_sampling_and_features_took_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    notes: list[ScoringNow] = []
    rounds = (Round(100, 4), Round(300, 1))
    watch = ScoringWatch(128, rounds, 600, notes.append)
    (first, *_) = sampling_choices(small_experiment())
    watch.draw(first, 100)
    watch.begin("sampling", 100, 10)
    assert watch.now.seconds_left is None  # nothing is known yet
    for _ in range(6):
        watch.look()
        clock[0] += 4.0
    assert watch.now.images == 50
    # 24 s for 50 images, the sixth tenth not counted until it is through
    assert watch.now.seconds_left == pytest.approx(24 / 50 * 550)
    clock[0] = 40.0
    watch.end()
    watch.begin("features", 100, 1)
    watch.look()
    clock[0] = 50.0
    watch.end()
    assert watch.now.seconds_left == pytest.approx(500 * (40 + 10) / 100)
    watch.draw(first, 300)
    assert (watch.now.round, watch.now.num_rounds) == (2, 2)
    assert watch.now.text == (
        "scoring: round 2 of 2, ddim-2, omega 0, 100 of 600 images, 4 min left"
    )


def test_pieces_are_batches_times_evaluations() -> None:
    assert [pieces_of(count, 10, 3) for count in (1, 10, 11)] == [3, 3, 6]
