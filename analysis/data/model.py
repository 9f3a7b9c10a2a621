"""A trial's checkpoint, the data behind it and samples of it, for figures that look inside.

Torch is imported where it is used: the figures of stored results do without it.
"""

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from diffrop.analysis.data.compare import baseline_and_best
from diffrop.analysis.data.load import StudyResults
from diffrop.checkpoint_header import num_values, read_card
from diffrop.errors import CheckpointError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from diffrop.config import ExperimentConfig
    from diffrop.data import Dataset
    from diffrop.diffusion.schedule import NoiseSchedule
    from diffrop.metrics.features import FeatureExtractor
    from diffrop.models.unet import UNet

MAX_CPU_PARAMETERS = 5_000_000
"""Larger networks are not sampled from on a CPU, unless their figure is asked for by name."""
CLASSIFIER = "classifier"


@dataclass(frozen=True, eq=False)
class TrialModel:
    """A trial's averaged network, with what it was trained on."""

    trial: pd.Series
    config: "ExperimentConfig"
    """With the sampler that the trial was scored with."""
    network: "UNet"
    guide: "UNet | None"
    schedule: "NoiseSchedule"
    image_shape: tuple[int, int, int]
    num_classes: int

    def samples(self, labels: "Tensor", seed: int) -> "Tensor":
        """Draw uint8 images (N, C, H, W) for labels (N,), at the trial's omega, on the CPU."""
        from diffrop.scoring.samples import draw_samples

        omega = self.trial["omega"]
        return draw_samples(
            self.network,
            self.schedule,
            self.config.sampling,
            self.image_shape,
            labels,
            0.0 if pd.isna(omega) else float(omega),
            self.num_classes,
            seed,
            guide=self.guide,
        ).cpu()


def model_trials(study: StudyResults) -> list[pd.Series]:
    """Return the baseline and the best contrastive trial, those that have a checkpoint."""
    return [trial for trial in baseline_and_best(study) if newest_checkpoint(study, trial)]


def newest_checkpoint(study: StudyResults, trial: pd.Series) -> Path | None:
    """Return the newest checkpoint of a trial whose card can be read."""
    for path in reversed(study.folder(int(trial["number"])).training().checkpoints()):
        with contextlib.suppress(CheckpointError):
            read_card(path)
            return path
    return None


def can_read_model(study: StudyResults) -> bool:
    """Whether there is a checkpoint, and hardware that samples from it in acceptable time."""
    paths = [newest_checkpoint(study, trial) for trial in model_trials(study)]
    sizes = [num_values(path, "model") for path in paths if path is not None]
    if not any(sizes):
        return False
    return max(sizes) <= MAX_CPU_PARAMETERS or _device().type == "cuda"


def load_model(study: StudyResults, trial: pd.Series) -> TrialModel:
    """Load the averaged network of a trial.

    Raises:
        ValueError: it has no checkpoint that this version can read.
    """
    from diffrop.checkpoint_file import Checkpoint, read_checkpoint
    from diffrop.diffusion.schedule import NoiseSchedule
    from diffrop.study.sampling_choice import with_sampler
    from diffrop.training.checkpoint import config_of
    from diffrop.training.network import load_ema, load_guide

    path = newest_checkpoint(study, trial)
    if path is None:
        raise ValueError(f"trial {trial['number']} has no checkpoint that can be read")
    device = _device()
    try:
        stored = read_checkpoint(path, device)
    except CheckpointError as error:
        raise ValueError(str(error)) from error
    # How it was scored is read from the trial; older cards say it in other words.
    parts = {name: part for name, part in stored.card["config"].items() if name != "evaluation"}
    card = {**stored.card, "config": parts}
    config = config_of(card)
    with contextlib.suppress(ValueError):  # a trial without a score has its own
        config = with_sampler(config, str(trial["sampler"]))
    checkpoint = Checkpoint(stored.tensors, card, path)
    network = load_ema(checkpoint, device, config.sampling.ema_length)
    guide = load_guide(checkpoint, device, config.sampling.guide)
    schedule = NoiseSchedule.linear(config.diffusion).to(device)
    channels, height, width = card["image_shape"]
    shape, num_classes = (channels, height, width), len(card["class_names"])
    return TrialModel(trial, config, network, guide, schedule, shape, num_classes)


def load_data(study: StudyResults) -> "Dataset":
    """Load the study's data set, as its trials saw it.

    Raises:
        ValueError: it is not where the study had it.
    """
    from diffrop.config import DataConfig
    from diffrop.data import load_dataset

    return load_dataset(DataConfig.from_dict(study.config["experiment"]["data"]))


def study_extractor(study: StudyResults, data: "Dataset", name: str) -> "FeatureExtractor":
    """Make an extractor, from the cache that the studies of a runs folder share.

    Args:
        study: the extractor's weights are those of its settings.
        data: the classifier learned its reference images.
        name: the study's own, or "classifier".

    Raises:
        ValueError: its weights or packages are missing, or it is code that is not trusted.
    """
    from diffrop.config import EvaluationConfig
    from diffrop.metrics.extractors import make_extractor

    own = name == study.setting("evaluation.extractor")
    known: dict[str, Any] = {
        key: study.setting(f"evaluation.{key}")
        for key in ("extractor_weights", "extractor_precision")
        if own and study.setting(f"evaluation.{key}") is not None
    }
    config = EvaluationConfig(extractor=name, **known)
    cache = study.directory.resolve().parent / ".cache"
    return make_extractor(config, data.reference, data.name, cache, trusted=study.trusted)


def frequent_first(data: "Dataset") -> list[int]:
    """Return the classes from the most frequent to the rarest, equal ones in label order."""
    counts = data.train.class_counts
    return sorted(range(len(counts)), key=lambda label: (-counts[label], label))


def _device() -> "torch.device":
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
