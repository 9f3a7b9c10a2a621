"""A study of known cost: a training of 64 images, two forks of it to 128, one leader confirmed."""

from pathlib import Path

from diffrop.record.score_card import ScoreCard
from diffrop.record.study_folder import StudyFolder
from diffrop.record.trainings import StoredTraining, TrainingSegment
from tests.made.scores import score_card
from tests.made.stored_study import store_training, store_trial

BASE, FORK, AGAIN = "base", "fork", "again"
"""Keys of its trainings; the forks of trials 1 and 2 are one training."""


def segment(begin: int, end: int, seconds: float, **changes: object) -> TrainingSegment:
    """A segment of two workers that ended at the time that `end` names."""
    fields = {"workers": 2, "gpus": 0, "time": float(end)} | changes
    return TrainingSegment(begin, end, seconds, **fields)  # type: ignore[arg-type]


def timed_card(images: int, seconds: float) -> ScoreCard:
    """A score of ten samples that took so long to draw, and ended at 1000 plus its images."""
    parts = {"sampling": seconds, "features": 0.0, "metrics": 0.0}
    time = 1000.0 + images
    return score_card(50.0, images, time=time, samples_drawn=10, seconds=parts)


def write_costly_study(root: Path) -> StudyFolder:
    """Write the study into a runs folder; its configuration and database are left out."""
    folder = StudyFolder(root / "small")
    store = folder.store
    segments = [segment(0, 64, 36.0), segment(64, 128, 360.0)]
    base = store_training(store, BASE, segments=segments)
    store_training(store, FORK, segments=[segment(64, 128, 72.0)], parent=f"{BASE}-64")
    store_training(store, AGAIN, segments=[segment(0, 128, 108.0)])
    tear(base)
    store_trial(folder.trial(0), store, BASE, [timed_card(64, 3.6), timed_card(128, 7.2)])
    for number in (1, 2):
        store_trial(folder.trial(number), store, FORK, [timed_card(128, 7.2)])
    store_trial(folder.retraining(1, 0), store, AGAIN, [timed_card(128, 7.2)])
    return folder


def tear(training: StoredTraining) -> None:
    """Leave the line behind that a worker wrote when it was killed."""
    with training.costs_path.open("a") as file:
        file.write('{"from": 9, "to"')
