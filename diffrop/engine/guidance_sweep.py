"""The guidance scale of finished checkpoints, one omega after another (Figure 4b)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from rich.table import Table

from diffrop.activity import Tell, untold
from diffrop.checkpoint_file import Checkpoint, read_checkpoint
from diffrop.config import ExperimentConfig
from diffrop.csv_cells import plain_frame
from diffrop.data import Dataset, load_dataset
from diffrop.diffusion.schedule import NoiseSchedule
from diffrop.engine.prepare import fit_reference
from diffrop.metrics.extractors import make_extractor
from diffrop.metrics.report import ShotReport
from diffrop.record.study_folder import StudyFolder
from diffrop.schema import require
from diffrop.scoring.samples import Averages, Guides, ScoringInputs
from diffrop.scoring.score import check_scorable, score_choice
from diffrop.shot_groups import GROUPS
from diffrop.study.sampling_choice import SamplingChoice, sampling_choices
from diffrop.training.checkpoint import config_of
from diffrop.training.network import load_ema, load_guide

EXTRACTOR_KEY = "evaluation.extractor"


@dataclass(frozen=True)
class SweptCheckpoint:
    """A checkpoint ready to sample from."""

    label: str
    images_seen: int
    config: ExperimentConfig
    averages: Averages
    guides: Guides
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


def ranked_trials(study: Path) -> list[int]:
    """Return the numbers of a study's complete trials, best first; ValueError if it is none."""
    trials = _trials(study)
    return [int(number) for number in trials[trials["rank"].notna()].sort_values("rank").index]


def study_checkpoints(study: Path, numbers: Sequence[int] | None = None) -> dict[str, Path]:
    """Return the checkpoint behind the last score of some trials by the trial's name.

    Args:
        study: its folder.
        numbers: of the trials; None takes the baseline and the best other one.

    Raises:
        ValueError: the study has no results, or no such trial, or the trial no score.
        CheckpointError: a checkpoint is gone.
    """
    trials = _trials(study)
    if numbers is None:
        numbers = [0, *[number for number in ranked_trials(study) if number != 0][:1]]
    found = {}
    for number in numbers:
        known = ", ".join(str(other) for other in trials.index)
        require(number in trials.index, "trial", number, known)
        folder = StudyFolder(study).trial(number)
        images = float(str(trials.loc[number, "images_seen"]))
        if math.isnan(images):
            raise ValueError(f"{folder.path} holds no score; allowed: trials that reached a rung")
        found[str(trials.loc[number, "name"])] = folder.scored_checkpoint(int(images))
    return found


def _trials(study: Path) -> pd.DataFrame:
    table = StudyFolder(study).trials_table
    if not table.exists():
        raise ValueError(f"{study} holds no trials.csv; allowed: the folder of a study")
    return plain_frame(pd.read_csv(table)).set_index("number")


def ready_to_sample(
    files: Mapping[str, Path],
    changes: Mapping[str, Any],
    cache: Path,
    device: torch.device,
    *,
    trust_code: bool = False,
    tell: Tell = untold,
) -> tuple[list[SweptCheckpoint], ScoringInputs]:
    """Read checkpoints of one dataset, and make what scores their samples.

    Args:
        files: checkpoints by their labels; one at least.
        changes: keys of the configuration, such as `evaluation.guidance_scales`, in place of the
            checkpoint's own.
        cache: folder for what is computed once of the reference.
        device: to sample on.
        trust_code: whether an extractor of one's own that the checkpoints name may be called; one
            in `changes` may.
        tell: is told how far it is.

    Raises:
        ValueError: checkpoints of different data, or settings that do not fit them.
        CheckpointError: a file is no intact checkpoint.
    """
    require(bool(files), "checkpoints", list(files), "one or more")
    swept: list[SweptCheckpoint] = []
    dataset: Dataset | None = None
    for label, path in files.items():
        checkpoint = read_checkpoint(path)
        if "gan" in checkpoint.card:
            raise ValueError(
                f"{path} is a GAN's, which takes no guidance; allowed: a diffusion model's"
            )
        config = config_of(checkpoint.card).with_values(changes)
        dataset = dataset or load_dataset(config.data, tell)
        if checkpoint.card["data_digest"] != dataset.train_digest:
            raise ValueError(
                f"{path} was trained on other images than {next(iter(files.values()))}, or they "
                "have changed; allowed: checkpoints of one dataset and imbalance factor"
            )
        check_scorable(config, dataset, [config.evaluation.num_samples])
        swept.append(_ready(label, checkpoint, config, device))
    assert dataset is not None  # there is a checkpoint
    evaluation, trusted = swept[0].config.evaluation, trust_code or EXTRACTOR_KEY in changes
    source = evaluation, dataset.reference, dataset.name, cache
    extractor = make_extractor(*source, trusted=trusted, tell=tell)
    reference = fit_reference(extractor, dataset, cache, device, tell)
    return swept, ScoringInputs(dataset, extractor, reference)


def score_choices(
    swept: Sequence[SweptCheckpoint],
    inputs: ScoringInputs,
    tell: Tell = untold,
) -> pd.DataFrame:
    """Score every sampling choice of every checkpoint on the full N.

    Args:
        swept: as `ready_to_sample` gives them.
        inputs: likewise.
        tell: is told how far it is.

    Returns:
        One row a checkpoint, choice and group: checkpoint, form, images_seen, omega, sampler,
        evaluations (of the network for an image), score, value, low, high (95 % over samples),
        num_samples, extractor, reference.
    """
    rows: list[dict[str, Any]] = []
    places = [(each, choice) for each in swept for choice in each.choices]
    for done, (each, choice) in enumerate(places):
        how = f"{choice.sampler}, omega {choice.omega:g}, choice {done + 1} of {len(places)}"
        tell(f"scoring: {how}", done / len(places))
        num_samples = each.config.evaluation.num_samples
        found = score_choice(
            each.averages, each.schedule, each.config, inputs, choice, num_samples, each.guides
        )
        rows += _rows(each, choice, found)
    return pd.DataFrame(rows)


def _ready(
    label: str, checkpoint: Checkpoint, config: ExperimentConfig, device: torch.device
) -> SweptCheckpoint:
    choices = sampling_choices(config)
    lengths = dict.fromkeys(choice.sampling.ema_length for choice in choices)
    averages = {length: load_ema(checkpoint, device, length) for length in lengths}
    guides = {
        share: model
        for share in dict.fromkeys(choice.sampling.guide for choice in choices)
        if (model := load_guide(checkpoint, device, share)) is not None and share is not None
    }
    schedule = NoiseSchedule.linear(config.diffusion).to(device)
    seen = checkpoint.card["images_seen"]
    return SweptCheckpoint(label, seen, config, averages, guides, schedule, choices)


def _rows(
    swept: SweptCheckpoint, choice: SamplingChoice, found: ShotReport
) -> list[dict[str, Any]]:
    return [
        {
            "checkpoint": swept.label,
            "form": swept.config.contrastive.form,
            "images_seen": swept.images_seen,
            "omega": choice.omega,
            "sampler": choice.sampler,
            "evaluations": choice.evaluations,
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


def sweep_tables(frame: pd.DataFrame) -> dict[str, Table]:
    """Return a table of 80 columns for each checkpoint and sampler, by a heading.

    FIDs stand beside half the width of their intervals; a star marks the least of a column.
    """
    groups = [group for group in GROUPS if f"fid/{group}" in set(frame["score"])]
    tables = {}
    for (label, sampler), part in frame.groupby(["checkpoint", "sampler"], sort=False):
        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
        for heading in ("omega", "NFE", *(f"fid/{group}" for group in groups)):
            table.add_column(heading, justify="right", no_wrap=True)
        least = part.groupby("score")["value"].min()
        for omega, row in part.groupby("omega"):
            cells = []
            for group in groups:
                found = row[row["score"] == f"fid/{group}"].iloc[0]
                mark = "*" if found["value"] == least[f"fid/{group}"] else " "
                width = (found["high"] - found["low"]) / 2
                cells.append(f"{found['value']:.2f} +-{width:.2f}{mark}")
            table.add_row(f"{omega:g}", f"{row['evaluations'].iloc[0]:,}", *cells)
        tables[f"{label}, {sampler}"] = table
    return tables
