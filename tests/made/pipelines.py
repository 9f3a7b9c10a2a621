"""Small networks, and the folders that diffusers loads."""

from pathlib import Path

import torch
from diffusers import DiffusionPipeline

from diffrop.checkpoint_file import Checkpoint
from diffrop.data import load_dataset
from diffrop.training.trainer import Trainer
from tests.made.small import small_experiment

SMALL = {
    "model.base_channels": 16,
    "model.channel_multipliers": [1, 2],
    "model.num_res_blocks": 2,
    "model.attention_resolutions": [4],
    "training.ema_lengths": [0.1],
}


def trained(**changes: object) -> Checkpoint:
    """The checkpoint of a few steps, with every weight moved from its start."""
    config = small_experiment().with_values(SMALL | changes)
    trainer = Trainer(config, load_dataset(config.data), torch.device("cpu"))
    trainer.train_until(96)
    generator = torch.Generator().manual_seed(1)
    for tensor in trainer.ema.model.parameters():
        tensor.add_(torch.randn(tensor.shape, generator=generator), alpha=0.05)
    return trainer.checkpoint()


def load(folder: Path) -> DiffusionPipeline:
    """The pipeline of a folder, without a progress bar."""
    pipeline = DiffusionPipeline.from_pretrained(folder, trust_remote_code=True)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
