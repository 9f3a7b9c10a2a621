"""Reading best.yaml, the configuration that a study exports."""

import warnings
from pathlib import Path
from typing import Any

from diffrop.config import ExperimentConfig
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


def load_export(path: Path) -> ExperimentConfig:
    """Read a study's best.yaml: its configuration, to be scored at its one omega.

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
    return experiment.with_values({"evaluation.guidance_scales": [content["omega"]]})
