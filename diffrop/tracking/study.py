"""What a study's folder says of the whole study, as metrics and tags of the launch's run."""

import re
from collections.abc import Iterator
from pathlib import Path

from mlflow.entities import Metric

from diffrop.printable import printable
from diffrop.record.codec import encode
from diffrop.record.confirmation import ConfirmationRecord
from diffrop.record.cost import CostRecord
from diffrop.record.json_files import read_record
from diffrop.record.names import trial_label
from diffrop.record.rung_agreement import AgreementRecord
from diffrop.record.study_folder import StudyFolder
from diffrop.record.warm_start import WarmStartRecord
from diffrop.tracking.metrics import FINAL_STEP, numbers
from diffrop.tracking.mlflow_private import NOTE

MARKS = re.compile(r"[\\`*_<>\[\]|~&#!]")
"""Characters that mean something in Markdown, or begin HTML."""


def study_metrics(folder: StudyFolder) -> list[Metric]:
    """Return expected and actual cost, the rungs' rank agreement, and the confirmation.

    Raises:
        ValueError: a file is damaged.
    """
    metrics: list[Metric] = []
    if cost := read_record(folder.cost, CostRecord):
        for kind, part in (("plan", cost.plan), ("fact", cost.actual)):
            values = {f"{kind}/{key}": value for key, value in (encode(part) or {}).items()}
            metrics += numbers(values, _written(folder.cost), FINAL_STEP)
    if agreement := read_record(folder.rung_agreement, AgreementRecord):
        for rung in agreement.rungs:
            keys = ("tau", "low", "high", "num_trials", "num_audited", "num_samples")
            values = {f"fidelity/{key}": getattr(rung, key) for key in keys}
            metrics += numbers(values, _written(folder.rung_agreement), rung.images)
    if confirmation := read_record(folder.confirmation, ConfirmationRecord):
        for leader in confirmation.leaders:
            name = f"confirmation/{trial_label(leader.trial)}"
            values = {f"{name}_{key}": getattr(leader, key) for key in ("mean", "low", "high")}
            metrics += numbers(values, _written(folder.confirmation), FINAL_STEP)
            name = f"confirmation_look/{trial_label(leader.trial)}"
            for look in leader.looks:
                values = {f"{name}_{key}": getattr(look, key) for key in ("mean", "low", "high")}
                metrics += numbers(values, _written(folder.confirmation), look.num_seeds)
    return metrics


def study_tags(folder: StudyFolder) -> dict[str, str]:
    """Return the conclusions, and what earlier studies taught, in words.

    Each is a tag of its own, and the conclusions together are the run's description.

    Raises:
        ValueError: a file is damaged.
    """
    conclusions = dict(_conclusions(folder))
    tags = {f"conclusion.{name}": text for name, text in conclusions.items()}
    note = "\n\n".join(
        f"**{name.capitalize()}**: {markdown_text(text)}" for name, text in conclusions.items()
    )
    warm_start = read_record(folder.warm_start, WarmStartRecord)
    if warm_start is not None and warm_start.notes:
        tags["warm_start"] = "\n".join(warm_start.notes)
    return tags | ({NOTE: note} if note else {})


def markdown_text(text: str) -> str:
    """Return Markdown that shows a text as it is: without markup, HTML or links of its own."""
    return MARKS.sub(r"\\\g<0>", printable(text))


def _conclusions(folder: StudyFolder) -> Iterator[tuple[str, str]]:
    confirmation = read_record(folder.confirmation, ConfirmationRecord)
    agreement = read_record(folder.rung_agreement, AgreementRecord)
    for name, record in (("confirmation", confirmation), ("fidelity", agreement)):
        if record is not None and record.conclusion:
            yield name, record.conclusion


def _written(path: Path) -> float:
    """Return when a file was written, in seconds since 1970."""
    return path.stat().st_mtime
