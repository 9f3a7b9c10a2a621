"""The tables of the evidence: a row for each score of a training, as CSV.

A row has the arm's name and settings, the digest of how it is trained and scored, seed, images
seen, omega, number of samples, the scores of all classes and of each shot group, and for the whole
draw at the end the 95 % intervals over samples (`fid/few low`, `fid/few high`) and what copies of
training images there are. A training that failed ends with a row without scores.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.evidence.arms import Arm, Setting
from diffrop.shot_groups import GROUPS
from diffrop.storage import write_atomically

FOLDER = Path(__file__).parent / "data"
FIDS = tuple(f"fid/{group}" for group in GROUPS)
SHARES = ("accuracy/few", "memorisation/few")
CLASSIFIED = ("classifier long-tailed", "classifier with generated")
"""Accuracy on held-out images of the classifiers of Table 3."""
COLUMNS = (
    "arm",
    "settings",
    "digest",
    "seed",
    "images",
    "omega",
    "num_samples",
    *FIDS,
    *(f"{score} {end}" for score in FIDS for end in ("low", "high")),
    *SHARES,
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


def read(setting: Setting, folder: Path = FOLDER) -> pd.DataFrame:
    """Return the table of a setting, empty where there is none.

    Rows of trainings that the setting and the recipe would now make otherwise are left out.
    """
    path = path_of(setting.name, folder)
    if not path.exists():
        return pd.DataFrame(columns=list(COLUMNS))
    frame = pd.read_csv(path)
    expected = {key: setting.digest(Arm.of_key(key)) for key in frame["settings"].unique()}
    return frame[frame["digest"] == frame["settings"].map(expected)]


def append(setting: str, rows: Sequence[Row], folder: Path = FOLDER) -> None:
    """Add the rows of one training, all of them or, after a kill, none."""
    path = path_of(setting, folder)
    known = path.read_text(encoding="utf-8") if path.exists() else ""
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    text = frame.to_csv(index=False, header=not known, lineterminator="\n")
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(path, known + text)


def trained(frame: pd.DataFrame) -> set[tuple[str, int]]:
    """Return settings and seed of the trainings of a table, those that failed among them."""
    return set(zip(frame["settings"], frame["seed"], strict=True))
