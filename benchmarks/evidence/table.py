"""The tables of the evidence: a row for each score of a training, as CSV.

A row has the arm's name and settings, seed, images seen, omega, number of samples, the scores of
all classes and of each shot group, and for the whole draw at the end the 95 % intervals over
samples (`fid/few low`, `fid/few high`) and what copies of training images there are.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from diffrop.shot_groups import GROUPS

FOLDER = Path(__file__).parent / "data"
FIDS = tuple(f"fid/{group}" for group in GROUPS)
MEMORISED = ("memorisation/all", "memorisation/few")
ACCURACIES = ("accuracy/all", "accuracy/few")
CLASSIFIED = ("classifier long-tailed", "classifier with generated")
"""Accuracy on held-out images of the classifiers of Table 3."""
COLUMNS = (
    "arm",
    "settings",
    "seed",
    "images",
    "omega",
    "num_samples",
    *FIDS,
    *(f"{score} {end}" for score in FIDS for end in ("low", "high")),
    *ACCURACIES,
    *MEMORISED,
    *CLASSIFIED,
    "grad_ratio",
    "training_s",
    "scoring_s",
    "commit",
)
Row = Mapping[str, Any]


def path_of(setting: str, folder: Path = FOLDER) -> Path:
    """Return the table of a setting."""
    return folder / f"{setting}.csv"


def read(setting: str, folder: Path = FOLDER) -> pd.DataFrame:
    """Return the table of a setting, empty where there is none."""
    path = path_of(setting, folder)
    if not path.exists():
        return pd.DataFrame(columns=list(COLUMNS))
    return pd.read_csv(path)


def append(setting: str, rows: Sequence[Row], folder: Path = FOLDER) -> None:
    """Add the rows of one training at once, so that a kill leaves whole trainings alone."""
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    path = path_of(setting, folder)
    text = frame.to_csv(index=False, header=not path.exists(), lineterminator="\n")
    folder.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(text)


def trained(frame: pd.DataFrame) -> set[tuple[str, int]]:
    """Return settings and seed of the trainings of a table."""
    return set(zip(frame["settings"], frame["seed"], strict=True))
