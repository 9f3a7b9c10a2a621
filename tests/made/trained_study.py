"""The full study with checkpoints of its baseline and its best trial."""

from pathlib import Path

import torch
import yaml

from diffrop.checkpoint_file import write_checkpoint
from diffrop.data import load_dataset
from diffrop.training.trainer import Trainer
from tests.made.full_card import FINAL
from tests.made.full_study import TRIALS, write_full_study
from tests.made.small import small_experiment

BEST = 1
"""The best contrastive trial of the full study."""


def write_trained_study(directory: Path, form: str = "reciprocal") -> Path:
    """Write the full study, whose baseline and best trial have networks of a single step.

    Args:
        directory: the study's; its store of trainings lies beside it.
        form: of the best trial, and of all others that have the reciprocal form by themselves.
    """
    trials = [tuple(form if x == "reciprocal" else x for x in trial) for trial in TRIALS]
    write_full_study(directory, trials=trials)
    config = small_experiment(
        evaluation__num_samples=1_000, training__num_images=FINAL, training__log_every_images=512
    )
    dataset = load_dataset(config.data)
    content = yaml.safe_load((directory / "study.yaml").read_text())
    content["experiment"] = config.to_dict()
    (directory / "study.yaml").write_text(yaml.safe_dump(content))
    for number, own in ((0, "none"), (BEST, form)):
        changed = config.with_values({"contrastive.form": own})
        trainer = Trainer(changed, dataset, torch.device("cpu"))
        trainer.step()
        path = directory / "trials" / f"t{number:03d}" / "training" / f"images_{FINAL:012d}"
        write_checkpoint(path.with_suffix(".safetensors"), trainer.checkpoint())
    return directory
