"""Images drawn from a checkpoint's file, by themselves."""

import torch

from diffrop.activity import Tell, counted, untold
from diffrop.checkpoint_file import Checkpoint
from diffrop.config import SamplingConfig
from diffrop.data import LabelledImages
from diffrop.diffusion.schedule import NoiseSchedule
from diffrop.scoring.samples import draw_samples, drawing_pieces
from diffrop.study.sampling_choice import with_sampler
from diffrop.training.checkpoint import config_of
from diffrop.training.joint_stop import NEVER
from diffrop.training.network import load_ema, load_guide


def sampling_of(checkpoint: Checkpoint, sampler: str | None) -> SamplingConfig:
    """Return the sampling of a name, or the checkpoint's own for None.

    Raises:
        ValueError: there is no such sampler, number of steps or average, or the checkpoint is a
            GAN's.
    """
    if "gan" in checkpoint.card:
        raise ValueError(
            f"{checkpoint.path} is a GAN's; allowed: a diffusion model's. The GAN's samples.png "
            "lies beside its checkpoints"
        )
    config = config_of(checkpoint.card)
    return (config if sampler is None else with_sampler(config, sampler)).sampling


def draw_from(
    checkpoint: Checkpoint,
    sampling: SamplingConfig,
    labels: torch.Tensor,
    omega: float,
    seed: int,
    device: torch.device,
    tell: Tell = untold,
) -> LabelledImages:
    """Draw an image for each label (N,); they are on the CPU.

    Labels 0, 1, ..., C - 1, 0, ... with the seed and batch size that a score takes
    (`evaluation.seed`, `sampling.batch_size`) give the very images that it is of.

    Args:
        checkpoint: of a diffusion model.
        sampling: as `sampling_of` gives it.
        labels: int64.
        omega: guidance scale.
        seed: of the noise.
        device: to sample on.
        tell: is told how far it is.

    Raises:
        ValueError: the training no longer holds the checkpoint to guide with.
        CheckpointError: there is no such average in the checkpoint.
        OutOfMemoryError: naming the batch size to lower.
    """
    card = checkpoint.card
    names, diffusion = tuple(card["class_names"]), config_of(card).diffusion
    pieces = drawing_pieces(diffusion, sampling, len(labels))
    look = counted(tell, f"drawing {len(labels):,} images", pieces)
    channels, height, width = card["image_shape"]
    images = draw_samples(
        load_ema(checkpoint, device, sampling.ema_length),
        NoiseSchedule.linear(diffusion).to(device),
        sampling,
        (channels, height, width),
        labels,
        omega,
        len(names),
        seed,
        stop=NEVER.watched(look),
        guide=load_guide(checkpoint, device, sampling.guide),
    )
    return LabelledImages(images.cpu(), labels, names)
