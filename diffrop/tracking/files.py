"""A trial's files as MLflow metrics."""

import contextlib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow.entities import Metric
from safetensors import safe_open

from diffrop.schema import require

STATUSES = {"RUNNING": "RUNNING", "COMPLETE": "FINISHED", "PRUNED": "KILLED", "FAIL": "FAILED"}
"""MLflow's run status for each state of a trial."""
CURVES = "training/metrics.jsonl"
SCORES = "scores/images_*.json"
SAMPLES = "samples/*.png"
CHECKPOINTS = "training/images_*.safetensors"


@dataclass(frozen=True, kw_only=True)
class TrackedTrial:
    """A trial as it stands now; its numbers and images are read from its directory."""

    number: int
    name: str
    """Name of its run: "t007 reciprocal tau_0=3.2"."""
    directory: Path
    state: str
    """A key of `STATUSES`."""
    params: Mapping[str, Any]
    """Dotted configuration keys; MLflow keeps the values that it is given first."""
    tags: Mapping[str, str]
    message: str = ""
    """Why it failed, or at which rung it was pruned."""

    def __post_init__(self) -> None:
        """Refuse unknown states."""
        require(self.state in STATUSES, "state", self.state, ", ".join(STATUSES))

    def files(self, pattern: str) -> list[Path]:
        """Return the files of its directory that match, sorted by name."""
        return sorted(self.directory.glob(pattern))

    def mark(self) -> str:
        """Return a digest of what it says itself, and of its files' names, sizes and times."""
        seen: list[object] = [self]
        for pattern in (CURVES, SCORES, SAMPLES, CHECKPOINTS):
            for file in self.files(pattern):
                with contextlib.suppress(OSError):  # an old checkpoint, removed just now
                    status = file.stat()
                    seen.append((file.name, status.st_size, status.st_mtime_ns))
        return hashlib.sha256(repr(seen).encode()).hexdigest()

    def curve_metrics(self) -> list[Metric]:
        """Return the metrics of every whole line; half a line is still being written."""
        metrics = []
        for path in self.files(CURVES):
            for line in path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]:
                try:
                    values = json.loads(line)
                except ValueError:
                    continue  # a crash amid a line, and the resumed trial wrote on behind it
                metrics += _numbers(values, values.pop("time"), values.pop("images_seen"))
        return metrics

    def score_metrics(self) -> list[Metric]:
        """Return the scores at the choice of every score file, and the newest's omega curves.

        A curve is over the omegas of the chosen sampler. FIDs of unequal N do not compare, so each
        round of the search on fewer samples than the last has its own: `omega_curve_at_N/...`.

        Raises:
            ValueError: a file is damaged, or not written to its end yet.
        """
        metrics: list[Metric] = []
        scores = self._scores()
        for score in scores:
            counts = {f"num_samples/{name}": count for name, count in score["num_samples"].items()}
            values = {"omega": score["omega"], "score": score["values"][0]} | counts
            values |= score["best"]
            metrics += _numbers(values, score["time"], score["images_seen"])
        if scores and (scores[-1]["final"] or self.state != "RUNNING"):
            newest = scores[-1]
            for row in newest["curve"]:
                count, whole = row["num_samples"], newest["num_samples"]["all"]
                curve = "omega_curve" if count == whole else f"omega_curve_at_{count}"
                values = {f"{curve}/{name}": value for name, value in row["scores"].items()}
                if row["sampler"] == newest["sampler"]:
                    metrics += _numbers(values, newest["time"], round(row["omega"] * 1000))
        return metrics

    def model_metrics(self, model_id: str, digest: str) -> list[Metric]:
        """Return the newest score's FID of each shot group, as one metric on four data sets.

        The key of MLflow's table leaves the data set out (3.17.2), and four values at one step and
        time are refused as doubles: so each gets a millisecond of its own.
        """
        return [
            Metric(
                "fid", score["best"][f"fid/{group}"], round(score["time"] * 1000) + i,
                score["images_seen"], model_id=model_id, dataset_name=group, dataset_digest=digest,
            )
            for score in self._scores()[-1:]
            for i, group in enumerate(("all", "many", "medium", "few"))
            if score["best"].get(f"fid/{group}") is not None
        ]  # fmt: skip

    def _scores(self) -> list[dict[str, Any]]:
        """Read the score files, oldest first; "best" is added: the scores at the choice."""
        found = []
        for path in self.files(SCORES):
            try:
                score = json.loads(path.read_text(encoding="utf-8"))
                chosen = (score["omega"], score["sampler"], score["num_samples"]["all"])
                scores = {
                    (row["omega"], row["sampler"], row["num_samples"]): row["scores"]
                    for row in score["curve"]
                }
                found.append(score | {"best": scores[chosen]})
            except (KeyError, TypeError, ValueError) as error:
                raise ValueError(f"{path} is no complete score file ({error!r})") from error
        return found


def read_header(checkpoint: Path) -> tuple[str, str]:
    """Return the JSON card and the SHA-256 of a checkpoint."""
    with safe_open(checkpoint, framework="np") as file:
        metadata = file.metadata()
    return metadata["card"], metadata["sha256"]


def _numbers(values: Mapping[str, Any], time_s: float, step: int) -> list[Metric]:
    """Return a metric for each value that is a number; null says that nothing was measured."""
    return [
        Metric(key, float(value), round(time_s * 1000), step)
        for key, value in values.items()
        if isinstance(value, int | float)
    ]
