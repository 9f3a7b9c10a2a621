"""What is stored of a training beside its weights: what it is, its curves and its costs.

A training lies in the store that all studies of a runs folder share, under its key, and trials of
several studies may use it. So a study looks at its own part of the curves alone.
"""

import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from diffrop.record.codec import decode, stored_as
from diffrop.record.json_files import (
    append_json_line,
    parse_json_lines,
    read_json,
    read_json_lines,
    write_json_lines,
)
from diffrop.record.kinds import read_stored
from diffrop.record.names import files_by_images, images_name
from diffrop.storage import set_aside

WEIGHTS = "images_*.safetensors"
STEP_KEYS = ("images_seen", "time", "log_every_images")
"""Keys of a row of the curves that are no measures."""
TAIL_BYTES = 8192
Row = dict[str, Any]
"""A row of the curves: `images_seen`, `time`, the interval of the logging, and measures."""


@dataclass(frozen=True)
class TrainingSegment:
    """A part of a training that was trained in one go, and what it took."""

    begin: int = field(metadata=stored_as("from"))
    """Images seen before it."""
    end: int = field(metadata=stored_as("to"))
    """Images seen after it."""
    seconds: float
    """Wall clock, writing checkpoints included."""
    workers: int
    gpus: float
    """Over all workers."""
    time: float
    """When it ended, in seconds since 1970."""
    study: str = ""
    """Which study trained it, and pays for it; empty in files of earlier versions."""


@dataclass(frozen=True)
class StoredTraining:
    """A training's folder, `checkpoints/KEY`, without its weights."""

    path: Path

    @property
    def key(self) -> str:
        """The training's key."""
        return self.path.name

    @property
    def identity_path(self) -> Path:
        """The file that says what the training is."""
        return self.path / "training.json"

    @property
    def curves_path(self) -> Path:
        """Losses over images seen, as JSON lines."""
        return self.path / "metrics.jsonl"

    @property
    def costs_path(self) -> Path:
        """A JSON line for each segment."""
        return self.path / "cost.jsonl"

    @property
    def snapshots_path(self) -> Path:
        """The folder of its averages alone, at times of their own."""
        return self.path / "averages"

    def checkpoint_path(self, images_seen: int) -> Path:
        """Return where the checkpoint at `images_seen` is, or would be."""
        return self.path / images_name(images_seen, ".safetensors")

    def checkpoints(self) -> list[Path]:
        """Return the checkpoint files, oldest first."""
        return files_by_images(self.path, ".safetensors")

    def weights(self) -> list[Path]:
        """Return the files of checkpoints and of averages alone."""
        return [*self.checkpoints(), *files_by_images(self.snapshots_path, ".safetensors")]

    def parent(self) -> tuple[str, int] | None:
        """Return the key of the training from which this one forks, and the images seen there.

        None if it does not fork, or, with a warning, if its identity cannot be read.
        """
        identity = read_stored(self.identity_path, read_json) or {}
        key, _, images = str(identity.get("parent") or "").rpartition("-")
        if key and images.isdecimal():
            return key, int(images)
        return None

    def segments(self) -> list[TrainingSegment]:
        """Return what was trained, in the order in which it was, as far as it can be read."""
        return read_json_lines(self.costs_path, lambda row: decode(TrainingSegment, row))

    def add_segment(self, segment: TrainingSegment) -> None:
        """Write down what a segment took."""
        append_json_line(self.costs_path, segment)

    def all_segments(self, until: float = math.inf) -> Iterator[tuple[str, TrainingSegment]]:
        """Yield the segments up to some images, and those of the trainings that it forks from.

        Yields:
            the key of the segment's training, and the segment.
        """
        for segment in self.segments():
            if segment.end <= until:
                yield self.key, segment
        parent = self.parent()
        if parent is not None:
            key, images = parent
            yield from StoredTraining(self.path.parent / key).all_segments(min(images, until))

    def curves(self, log_every_images: int | None = None, until: float = math.inf) -> list[Row]:
        """Return the rows of the curves that a study shows, by images seen.

        A row holds measures averaged since the row before it. Another study that shares the
        training, and logs at another interval, may have added rows of its own: they are left out
        wherever the study's own interval is covered.

        Args:
            log_every_images: the study's interval; None takes all rows.
            until: the images seen by the study's trial, at most.
        """
        return own_rows(read_json_lines(self.curves_path, _step), log_every_images, until)

    def newest_row(self, log_every_images: int | None = None, until: float = math.inf) -> Row:
        """Return the newest measurement of each kind up to some images; empty before the first.

        The end of the file is read alone, where it holds such a row.
        """
        path = self.curves_path
        if not path.is_file():
            return {}
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - TAIL_BYTES))
            tail = file.read().decode("utf-8", errors="replace")
        rows = own_rows(parse_json_lines(tail), log_every_images, until)
        if not any(_is_own(row, log_every_images) for row in rows):
            rows = self.curves(log_every_images, until)
        merged: Row = {}
        for row in rows:
            merged |= row
        return merged

    def set_unreadable_aside(self) -> None:
        """Give way to the files that grow line by line, where something else has their place."""
        for path in (self.curves_path, self.costs_path):
            if os.path.lexists(path) and not path.is_file():
                set_aside(path)

    def add_curve_row(self, row: Row) -> None:
        """Write one more row of the curves."""
        append_json_line(self.curves_path, row)

    def drop_curves_after(self, images: int) -> list[Row]:
        """Remove the rows past some images, which are of steps that come again; return the rest.

        Of rows that were written twice the later one stays.
        """
        rows = {
            (row["images_seen"], row.get("log_every_images")): row
            for row in read_json_lines(self.curves_path, _step)
        }
        kept = [row for row in rows.values() if row["images_seen"] <= images]
        kept.sort(key=lambda row: row["images_seen"])
        write_json_lines(self.curves_path, kept)
        return kept


def own_rows(
    rows: Iterable[Row], log_every_images: int | None, until: float = math.inf
) -> list[Row]:
    """Return the rows of curves that a study shows; see `StoredTraining.curves`.

    Rows of another interval count only before the study's own logging began, where a training of
    another study went on. Rows of earlier versions do not say their interval, and count as own.
    """
    steps = [row for row in _steps(rows) if row["images_seen"] <= until]
    own = [row for row in steps if _is_own(row, log_every_images)]
    if log_every_images is not None:
        start = min((row["images_seen"] for row in own), default=math.inf) - log_every_images
        others = (row for row in steps if not _is_own(row, log_every_images))
        own += [row for row in others if row["images_seen"] <= start]
    unique = {row["images_seen"]: row for row in own}  # of a step that came again, the later row
    return [unique[images] for images in sorted(unique)]


def _is_own(row: Row, log_every_images: int | None) -> bool:
    every = log_every_images
    return every is None or row.get("log_every_images", every) == every


def _step(row: Row) -> Row:
    """Return a row that says how many images were seen; ValueError for any other."""
    if type(row.get("images_seen")) is not int:
        raise ValueError("no images seen")
    return row


def _steps(rows: Iterable[Row]) -> Iterator[Row]:
    """Yield the rows that say how many images were seen."""
    return (row for row in rows if type(row.get("images_seen")) is int)
