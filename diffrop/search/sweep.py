"""The guidance scale of finished checkpoints, one omega after another (Figure 4b)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from rich.table import Table

from diffrop.config import ExperimentConfig
from diffrop.data import Dataset, load_dataset
from diffrop.diffusion.schedule import NoiseSchedule
from diffrop.metrics.extractors import make_extractor
from diffrop.metrics.report import ShotReport
from diffrop.schema import require
from diffrop.search.engine import fit_reference
from diffrop.search.omega import SamplingChoice, sampling_choices
from diffrop.search.scoring import Averages, ScoringInputs, check_scorable, measure
from diffrop.training.checkpoint import Checkpoint, config_of, read_checkpoint
from diffrop.training.trainer import load_ema

GROUPS = ("all", "many", "medium", "few")


@dataclass(frozen=True)
class SweptCheckpoint:
    """A checkpoint ready to sample from."""

    label: str
    images_seen: int
    config: ExperimentConfig
    averages: Averages
    schedule: NoiseSchedule
    choices: list[SamplingChoice]


def newest_study(runs_root: Path) -> Path:
    """Return the study in which results were written last; ValueError if there is none."""
    studies = [path.parent for path in runs_root.glob("*/trials.csv")]
    if not studies:
        raise ValueError(
            f"there is no study with results in {runs_root}; allowed: --study NAME with its "
            "--runs-root, or --checkpoint FILE"
        )
    return max(studies, key=lambda path: (path / "trials.csv").stat().st_mtime)


def study_checkpoints(study: Path, numbers: Sequence[int] | None) -> dict[str, Path]:
    """Return the newest checkpoint of some trials by the trial's name.

    Args:
        study: its folder.
        numbers: of the trials; None takes the baseline and the best other one.

    Raises:
        ValueError: the study has no results, or no such trial, or the trial no checkpoint.
    """
    table = study / "trials.csv"
    if not table.exists():
        raise ValueError(f"{study} holds no trials.csv; allowed: the folder of a study")
    trials = pd.read_csv(table).set_index("number")
    if numbers is None:
        others = trials[trials["rank"].notna() & (trials.index != 0)]
        numbers = [0, *others.sort_values("rank").index[:1]]
    found = {}
    for number in numbers:
        known = ", ".join(str(other) for other in trials.index)
        require(number in trials.index, "trial", number, known)
        folder = study / "trials" / f"t{number:03d}"
        files = sorted(folder.glob("training/images_*.safetensors"))
        if not files:
            raise ValueError(f"{folder} holds no checkpoint; allowed: trials that kept one")
        found[str(trials.loc[number, "name"])] = files[-1]
    return found


def sweep(
    files: Mapping[str, Path],
    changes: Mapping[str, Any],
    cache: Path,
    device: torch.device,
    report: Callable[[int, int], object] = lambda done, total: None,
) -> pd.DataFrame:
    """Score every sampling choice of every checkpoint on the full N.

    Args:
        files: checkpoints by their labels.
        changes: keys of the configuration, such as `evaluation.guidance_scales`, in place of the
            checkpoint's own.
        cache: folder for what is computed once of the reference.
        device: to sample on.
        report: receives how many choices are done, and of how many.

    Returns:
        One row a checkpoint, choice and group: checkpoint, images_seen, omega, sampler, score,
        value, low, high (95 % over samples), num_samples, extractor, reference.

    Raises:
        ValueError: checkpoints of different data, or settings that do not fit them.
        CheckpointError: a file is no intact checkpoint.
    """
    dataset: Dataset | None = None
    swept: list[SweptCheckpoint] = []
    for label, path in files.items():
        checkpoint = read_checkpoint(path)
        if "gan" in checkpoint.card:
            raise ValueError(f"{path} is a GAN's, which takes no guidance; allowed: a diffusion "
                             "model's")  # fmt: skip
        config = config_of(checkpoint.card).with_values(changes)
        dataset = dataset or load_dataset(config.data)
        if checkpoint.card["data_digest"] != dataset.train_digest:
            raise ValueError(f"{path} was trained on other images; allowed: checkpoints of one "
                             "dataset and imbalance factor")  # fmt: skip
        check_scorable(config, dataset, [config.evaluation.num_samples])
        swept.append(_ready(label, checkpoint, config, device))
    assert dataset is not None, "no checkpoint was given"
    evaluation = swept[0].config.evaluation
    extractor = make_extractor(evaluation, dataset.reference, dataset.name, cache)
    inputs = ScoringInputs(dataset, extractor, fit_reference(extractor, dataset, cache, device))
    rows: list[dict[str, Any]] = []
    total = sum(len(each.choices) for each in swept)
    places = ((each, choice) for each in swept for choice in each.choices)
    for done, (each, choice) in enumerate(places, start=1):
        found = measure(
            each.averages, each.schedule, each.config, inputs, choice, evaluation.num_samples
        )
        rows += _rows(each, choice, found)
        report(done, total)
    return pd.DataFrame(rows)


def _ready(
    label: str, checkpoint: Checkpoint, config: ExperimentConfig, device: torch.device
) -> SweptCheckpoint:
    choices = sampling_choices(config)
    lengths = dict.fromkeys(choice.sampling.ema_length for choice in choices)
    averages = {length: load_ema(checkpoint, device, length) for length in lengths}
    schedule = NoiseSchedule.linear(config.diffusion).to(device)
    seen = checkpoint.card["images_seen"]
    return SweptCheckpoint(label, seen, config, averages, schedule, choices)


def _rows(
    swept: SweptCheckpoint, choice: SamplingChoice, found: ShotReport
) -> list[dict[str, Any]]:
    return [
        {
            "checkpoint": swept.label,
            "images_seen": swept.images_seen,
            "omega": choice.omega,
            "sampler": choice.sampler,
            "score": f"fid/{group}",
            "value": found.scores[f"fid/{group}"],
            "low": found.intervals[f"fid/{group}"].low,
            "high": found.intervals[f"fid/{group}"].high,
            "num_samples": found.num_samples[group],
            "extractor": found.protocol.extractor,
            "reference": found.protocol.reference,
        }
        for group in GROUPS
        if f"fid/{group}" in found.intervals
    ]


def sweep_table(frame: pd.DataFrame) -> Table:
    """Return a sweep for the terminal, in 80 columns; a star marks the least of a column."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    table.add_column("omega", justify="right")
    groups = [group for group in GROUPS if f"fid/{group}" in set(frame["score"])]
    for group in groups:
        table.add_column(f"fid/{group}", justify="right", no_wrap=True)
    for (label, sampler), part in frame.groupby(["checkpoint", "sampler"], sort=False):
        table.add_row(f"[bold]{label}, {sampler}[/bold]")
        least = part.groupby("score")["value"].min()
        for omega, row in part.groupby("omega"):
            cells = []
            for group in groups:
                found = row[row["score"] == f"fid/{group}"].iloc[0]
                mark = "*" if found["value"] == least[f"fid/{group}"] else " "
                width = (found["high"] - found["low"]) / 2
                cells.append(f"{found['value']:.2f} +-{width:.2f}{mark}")
            table.add_row(f"{omega:g}", *cells)
    return table
