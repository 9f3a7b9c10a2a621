"""Reading best.yaml, the configuration that a study exports."""

import warnings
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Any

from diffrop.config import EvaluationConfig, ExperimentConfig
from diffrop.schema import coerce
from diffrop.yaml_text import load_yaml


def read_export(path: Path) -> dict[str, Any]:
    """Read a study's best.yaml as plain data.

    Raises:
        ValueError: the file is damaged, or no export.
    """
    content = load_yaml(path)
    fits = isinstance(content, dict) and {"config", "omega"} <= content.keys()
    if not fits or not isinstance(content["config"], dict):
        raise ValueError(f"{path} is no exported configuration; allowed: a study's best.yaml")
    provenance = content.get("provenance")
    training = provenance.get("training") if isinstance(provenance, dict) else None
    if type(content["omega"]) not in (int, float) or not all(
        part is None or isinstance(part, dict) for part in (provenance, training)
    ):
        raise ValueError(f"{path} is damaged: omega or provenance is no such thing")
    return content


@dataclass(frozen=True)
class Export:
    """What a study exports, as far as a training of it needs it."""

    experiment: ExperimentConfig
    """Sampled as the study found best, at one omega."""
    omega: float
    omegas: tuple[float, ...]
    """From which the study chose it, in rising order, itself included."""
    images_seen: int | None
    """Of the training that it was found for; None where the file does not say so."""

    @property
    def with_omegas(self) -> ExperimentConfig:
        """The configuration with omega chosen anew: another length of training has another."""
        return self.experiment.with_values({"evaluation.guidance_scales": list(self.omegas)})

    @property
    def found(self) -> str:
        """What the study found, in words."""
        after = "" if self.images_seen is None else f" after {self.images_seen:,} images"
        return f"the study's was {self.omega:g}{after}"


def load_export(path: Path) -> Export:
    """Read a study's best.yaml.

    Warns where the trial went on from a checkpoint: a training from the start is another one.

    Raises:
        ValueError: the file is no export, or a value in it is not allowed.
    """
    content = read_export(path)
    experiment = ExperimentConfig.from_dict(content["config"])
    training = (content.get("provenance") or {}).get("training") or {}
    if start := training.get("went_on_from"):
        warnings.warn(
            f"the trial in {path} went on from {start}; trained from the start, as here, its "
            "configuration is another training, with another score",
            stacklevel=2,
        )
    omega, images = float(content["omega"]), (content.get("provenance") or {}).get("images_seen")
    omegas = content.get("omegas") or EvaluationConfig().guidance_scales  # earlier versions' lack
    if not isinstance(omegas, list | tuple) or type(images) not in (int, NoneType):
        raise ValueError(f"{path} is damaged: omegas or images_seen is no such thing")
    chosen_from = coerce([*omegas, omega], tuple[float, ...], "omegas")
    fixed = experiment.with_values({"evaluation.guidance_scales": [omega]})
    return Export(fixed, omega, tuple(sorted(set(chosen_from))), images)
