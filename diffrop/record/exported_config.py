"""Reading best.yaml, the configuration that a study exports."""

import warnings
from pathlib import Path

from diffrop.config import ExperimentConfig
from diffrop.yaml_text import load_yaml


def load_export(path: Path) -> ExperimentConfig:
    """Read a study's best.yaml: its configuration, to be scored at its one omega.

    Warns where the trial went on from a checkpoint: a training from the start is another one.

    Raises:
        ValueError: the file is no export, or a value in it is not allowed.
    """
    content = load_yaml(path)
    if not isinstance(content, dict) or not {"config", "omega"} <= content.keys():
        raise ValueError(f"{path} is no exported configuration; allowed: a study's best.yaml")
    experiment = ExperimentConfig.from_dict(content["config"])
    training = (content.get("provenance") or {}).get("training") or {}
    if start := training.get("went_on_from"):
        warnings.warn(
            f"the trial in {path} went on from {start}; trained from the start, as here, its "
            "configuration is another training, with another score",
            stacklevel=2,
        )
    return experiment.with_values({"evaluation.guidance_scales": [content["omega"]]})
