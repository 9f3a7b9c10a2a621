"""The table of a landscape: a line of JSON for each trial, written when the trial has ended.

    {"values": {...}, "seed": 0, "commit": "...", "rungs": [
        {"images": 5120, "training_s": 5.5, "draws": [
            {"omega": 0.0, "sampling_s": 0.9, "scoring_s": 0.1,
             "scores": {"125": [ALL, MANY, MEDIUM, FEW, ACCURACY], ...}}, ...]}, ...]}

`scores` has the FIDs of the groups and accuracy/all on the first so many samples of the draw, by
their number. A training that failed has no rungs from there on, and `"failed": true`.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.landscapes import HERE, LANDSCAPES, Trial, point_key
from diffrop.shot_groups import GROUPS

SCORES = (*(f"fid/{group}" for group in GROUPS), "accuracy/all")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add which landscapes are meant, all but the reserved ones by default, and their tables."""
    free = [name for name, landscape in LANDSCAPES.items() if not landscape.reserved]
    parser.add_argument("--landscapes", nargs="+", choices=list(LANDSCAPES), default=free)
    parser.add_argument("--tables", type=Path, default=HERE / "data", help="folder of the tables")


def table_path(folder: Path, name: str) -> Path:
    """Return the table of a landscape."""
    return folder / f"{name}.jsonl"


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the trials of a table, the first of equal ones; a line cut off by a kill is none."""
    if not path.exists():
        return []
    whole = [line for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for line in whole:
        content = json.loads(line)
        found.setdefault(trial_of(content).key, content)
    return list(found.values())


def append_line(path: Path, content: dict[str, Any]) -> None:
    """Write one trial, in place of a line that was cut off."""
    text = json.dumps(content, separators=(",", ":")) + "\n"
    with path.open("ab+") as file:
        file.seek(0)
        known = file.read()
        file.truncate(known.rfind(b"\n") + 1)
        file.write(text.encode())


def trial_of(content: dict[str, Any]) -> Trial:
    """Return the point and the seed of a line."""
    return Trial(content["values"], content["seed"])


def to_frame(lines: list[dict[str, Any]]) -> pd.DataFrame:
    """Return a row for each score: trial, rung, omega and number of samples.

    Columns are point (its key), seed, images, omega, num_samples, those of `SCORES`, training_s
    (of the segment since the rung before), and in the row of the whole draw sampling_s and
    scoring_s.
    """
    return pd.DataFrame([row for content in lines for row in _rows(content)])


def _rows(content: dict[str, Any]) -> Iterator[dict[str, Any]]:
    known = {"point": point_key(content["values"]), "seed": content["seed"]}
    for rung in content["rungs"]:
        for drawn in rung["draws"]:
            largest = max(drawn["scores"], key=int)
            for count, scores in drawn["scores"].items():
                row = {**known, "images": rung["images"], "training_s": rung["training_s"]}
                row |= {"omega": drawn["omega"], "num_samples": int(count)}
                row |= dict(zip(SCORES, scores, strict=True))
                if count == largest:
                    row |= {key: drawn[key] for key in ("sampling_s", "scoring_s")}
                yield row
