"""The classes of a study: how often each was trained on, and what it scored."""

import contextlib
import math

import pandas as pd

from diffrop.analysis.data.load import StudyResults
from diffrop.checkpoint_header import read_card
from diffrop.errors import CheckpointError
from diffrop.record.score_card import ScoreCard

COLUMNS = {"label": "int64", "name": "str", "images": "Int64"}
SCORES = {"value": "float64", "low": "float64", "high": "float64", "num_samples": "Int64"}


def classes_frame(study: StudyResults) -> pd.DataFrame:
    """Return the classes that the trials were trained on, by label.

    Returns:
        label, name and images (of the training set, NA where a checkpoint does not say it); empty
        where no checkpoint is left.
    """
    for number in study.trials["number"]:
        for path in reversed(study.folder(int(number)).training().checkpoints()):
            with contextlib.suppress(CheckpointError):
                card = read_card(path)
                counts = card["class_counts"]
                names = card.get("class_names") or map(str, range(len(counts)))
                rows = list(zip(range(len(counts)), names, counts, strict=True))
                return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)
    return pd.DataFrame(columns=list(COLUMNS)).astype(COLUMNS)


def class_scores(study: StudyResults, trial: pd.Series, metric: str = "fid") -> pd.DataFrame:
    """Return what each class of a trial scored, from the most frequent class to the rarest.

    Args:
        study: whose trial it is.
        trial: complete; its score in full is taken.
        metric: fid, kid, precision, recall or accuracy.

    Returns:
        the columns of `classes_frame`, then value, low and high (95 % over samples; NaN where the
        metric has none) and num_samples (NA without an interval). Without a checkpoint classes are
        in label order, called by their labels, and images is NA. Empty where classes have too few
        samples for scores of their own.
    """
    cards = [card for card in study.folder(int(trial["number"])).scores() if card.final]
    found = _scored(cards[-1], metric) if cards else pd.DataFrame(columns=["label", *SCORES])
    known = classes_frame(study)
    if known.empty:
        labels = found["label"]
        known = pd.DataFrame({"label": labels, "name": labels.astype(str), "images": pd.NA})
    merged = known.astype(COLUMNS).merge(found.astype({"label": "int64"} | SCORES), on="label")
    return merged.sort_values(["images", "label"], ascending=[False, True], ignore_index=True)


def _scored(card: ScoreCard, metric: str) -> pd.DataFrame:
    rows = []
    for score, value in card.class_scores.items():
        own, _, label = score.partition("/class_")
        if own == metric and label.isdigit():
            interval = card.intervals.get(score)
            ends = (interval.low, interval.high, interval.num_samples) if interval else ()
            rows.append((int(label), value, *(ends or (math.nan, math.nan, pd.NA))))
    return pd.DataFrame(rows, columns=["label", *SCORES])
