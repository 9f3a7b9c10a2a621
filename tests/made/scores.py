"""Scores as trials leave them, without trainings."""

import json
import time
from pathlib import Path

from diffrop.record.score_card import CurvePoint, ScoreCard
from diffrop.storage import write_atomically


def score_card(scores: dict[str, float], images: int) -> ScoreCard:
    """A score of a trial of `small_study` at its only choice, ranked by fid/all.

    Args:
        scores: by name, fid/all among them.
        images: seen; 128 are the end of the training.
    """
    return ScoreCard(
        images_seen=images,
        time=time.time(),
        objectives=["fid/all"],
        values=[scores["fid/all"]],
        omega=1.0,
        sampler="ddim-2",
        extractor="pixels",
        reference="full training set",
        num_samples={"all": 40},
        num_reference={"all": 70},
        final=images == 128,
        curve=[CurvePoint(omega=1.0, sampler="ddim-2", num_samples=40, scores=scores)],
        intervals={},
        class_scores={},
        samples_drawn=40,
        seconds={"sampling": 1.8, "features": 0.9, "metrics": 0.9},
    )


def write_score(trial: Path, value: float, images: int) -> None:
    """Write a score card into a trial's folder.

    Args:
        trial: the folder.
        value: its fid/all.
        images: seen; 128 are the end of the training.
    """
    card = score_card({"fid/all": value}, images)
    write_atomically(trial / "scores" / f"images_{images:012d}.json", json.dumps(card.to_dict()))
