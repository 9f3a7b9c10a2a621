"""A checkpoint's averaged network as a folder that diffusers loads."""

import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from diffrop.checkpoint_file import Checkpoint
from diffrop.config import ExperimentConfig
from diffrop.errors import CheckpointError
from diffrop.extras import install_command
from diffrop.models.unet import Downsample, ResBlock, UNet, group_norm
from diffrop.study.sampling_choice import with_sampler
from diffrop.training.checkpoint import config_of
from diffrop.training.network import load_ema, load_guide

PIPELINE_FILE = Path(__file__).with_name("pipeline.py")
CHANNELS_PER_GROUP, MAX_GROUPS = 4, 32  # of group_norm


def export_pipeline(
    checkpoint: Checkpoint, directory: Path, omega: float, sampler: str | None = None
) -> None:
    """Write a diffusers pipeline: UNet2DModel, the sampler's scheduler, and code that joins them.

    Args:
        checkpoint: of a diffusion model.
        directory: new or empty.
        omega: the pipeline's guidance scale, unless a call gives another.
        sampler: as it stands beside scores, such as ddim-8-guided-0.2-0.7; None takes the
            checkpoint's.

    Raises:
        ValueError: diffusers is not installed, the folder is not empty, or there is no such
            sampler, average or guide.
        CheckpointError: the checkpoint is a GAN's.
    """
    try:
        import diffusers
    except ImportError as error:
        raise ValueError(
            f"diffusers is not installed. To fix: {install_command('diffusers')}"
        ) from error
    if directory.exists() and any(directory.iterdir()):
        raise ValueError(f"folder {str(directory)!r} is not empty. To fix: name a new one.")
    card = checkpoint.card
    if "gan" in card:
        raise CheckpointError(
            "a GAN has no diffusers pipeline. To fix: name a diffusion model's checkpoint."
        )
    config = config_of(card)
    if sampler is not None:
        config = with_sampler(config, sampler)
    sampling = config.sampling
    network = load_ema(checkpoint, torch.device("cpu"), sampling.ema_length)
    weaker = load_guide(checkpoint, torch.device("cpu"), sampling.guide)
    settings = unet_settings(config, network, card)
    with torch.random.fork_rng():
        unet = diffusers.UNet2DModel(**settings)
    unet.load_state_dict(dict(renamed(network)))
    unet.save_pretrained(directory / "unet")
    if weaker is not None:
        unet.load_state_dict(dict(renamed(weaker)))
        unet.save_pretrained(directory / "guide")
    scheduler, options = scheduler_settings(config)
    getattr(diffusers, scheduler)(**options).save_pretrained(directory / "scheduler")
    shutil.copyfile(PIPELINE_FILE, directory / "pipeline.py")
    index = {
        "_class_name": ["pipeline", "DiffropPipeline"],
        "_diffusers_version": diffusers.__version__,
        "unet": ["diffusers", "UNet2DModel"],
        "scheduler": ["diffusers", scheduler],
        "guide": [None, None] if weaker is None else ["diffusers", "UNet2DModel"],
        "class_names": card["class_names"],
        "sampler": sampling.sampler,
        "num_inference_steps": sampling.num_steps,
        "guidance_scale": omega,
        "guidance_interval": list(sampling.guidance_interval),
        "norm_channels_per_group": CHANNELS_PER_GROUP,
        "norm_max_groups": MAX_GROUPS,
    }
    (directory / "model_index.json").write_text(json.dumps(index, indent=2), encoding="utf-8")
    (directory / "card.json").write_text(json.dumps(card, indent=2), encoding="utf-8")


def scheduler_settings(config: ExperimentConfig) -> tuple[str, dict[str, Any]]:
    """Return the name of diffusers' scheduler of a sampler, and its arguments.

    DDIM with eta = 0 is DPM-Solver++ of first order (Lu et al., 2022), which takes any timesteps;
    diffusers' own DDIMScheduler goes down by T // N and cannot take ours.
    """
    sampling, diffusion = config.sampling, config.diffusion
    shared = {
        "num_train_timesteps": diffusion.num_timesteps,
        "beta_start": diffusion.beta_start,
        "beta_end": diffusion.beta_end,
        "beta_schedule": "linear",
    }
    # A threshold of at most 1 for every image clips to [-1, 1].
    dpm_solver = {"thresholding": sampling.clip, "sample_max_value": 1.0}
    match sampling.sampler:
        case "ancestral":
            own = {"clip_sample": sampling.clip, "variance_type": "fixed_large"}
            return "DDPMScheduler", shared | own
        case "ddim":
            return "DPMSolverMultistepScheduler", shared | dpm_solver | {"solver_order": 1}
        case "dpmpp":
            return "DPMSolverMultistepScheduler", shared | dpm_solver | {"solver_order": 2}
        case "heun":
            return "HeunDiscreteScheduler", shared | {"clip_sample": sampling.clip}


def unet_settings(config: ExperimentConfig, network: UNet, card: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of UNet2DModel for a network of ours."""
    model = config.model
    channels, size, _ = card["image_shape"]
    attended = [
        size // 2**level in model.attention_resolutions
        for level in range(len(model.channel_multipliers))
    ]
    norms = [module for module in network.modules() if isinstance(module, nn.GroupNorm)]
    assert all(norm.num_groups == group_norm(norm.num_channels).num_groups for norm in norms)
    return {
        "sample_size": size,
        "in_channels": channels,
        "out_channels": channels,
        "block_out_channels": tuple(model.base_channels * m for m in model.channel_multipliers),
        "down_block_types": tuple("AttnDownBlock2D" if a else "DownBlock2D" for a in attended),
        "up_block_types": tuple("AttnUpBlock2D" if a else "UpBlock2D" for a in reversed(attended)),
        "layers_per_block": model.num_res_blocks,
        "downsample_padding": 1,
        "flip_sin_to_cos": False,
        "freq_shift": 0,
        "dropout": model.dropout,
        "attention_head_dim": None,  # one head
        "norm_num_groups": math.gcd(*(norm.num_groups for norm in norms)),
        "norm_eps": norms[0].eps,
        "num_class_embeds": len(card["class_names"]) + 1,
    }


def renamed(network: UNet) -> Iterator[tuple[str, Tensor]]:
    """Yield a network's tensors under the names that UNet2DModel gives them."""
    parts = [
        ("time_embedding.linear_1", network.time_mlp[0]),
        ("time_embedding.linear_2", network.time_mlp[2]),
        ("class_embedding", network.label_embedding),
        ("conv_in", network.stem),
        ("conv_norm_out", network.head[0]),
        ("conv_out", network.head[2]),
    ]
    for name, module in parts:
        yield from _tensors(name, module)
    yield from _side("down_blocks", list(network.down))
    first, second = network.middle
    yield from _block("mid_block.resnets.0", "mid_block.attentions.0", first)
    yield from _block("mid_block.resnets.1", "", second)
    yield from _side("up_blocks", list(network.up))


def _side(name: str, layers: list[nn.Module]) -> Iterator[tuple[str, Tensor]]:
    """One side of the network: blocks of a level, then the change to the next level's size."""
    level, place = 0, 0
    for layer in layers:
        at = f"{name}.{level}"
        if isinstance(layer, ResBlock):
            yield from _block(f"{at}.resnets.{place}", f"{at}.attentions.{place}", layer)
            place += 1
            continue
        sampler = "downsamplers" if isinstance(layer, Downsample) else "upsamplers"
        yield from _tensors(f"{at}.{sampler}.0.conv", layer)
        level, place = level + 1, 0


def _block(resnet: str, attention: str, block: nn.Module) -> Iterator[tuple[str, Tensor]]:
    assert isinstance(block, ResBlock)
    parts = {
        "norm1": block.norm_1,
        "conv1": block.conv_1,
        "time_emb_proj": block.condition,
        "norm2": block.norm_2,
        "conv2": block.conv_2,
        "conv_shortcut": block.skip,
    }
    for name, module in parts.items():
        yield from _tensors(f"{resnet}.{name}", module)
    if isinstance(block.attention, nn.Identity):
        return
    inner = block.attention
    yield from _tensors(f"{attention}.group_norm", inner.norm)
    for key, tensor in inner.qkv.state_dict().items():
        for name, part in zip(("to_q", "to_k", "to_v"), tensor.chunk(3), strict=True):
            yield f"{attention}.{name}.{key}", part.flatten(1) if key == "weight" else part
    for key, tensor in inner.project.state_dict().items():
        yield f"{attention}.to_out.0.{key}", tensor.flatten(1) if key == "weight" else tensor


def _tensors(name: str, module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    for key, tensor in module.state_dict().items():
        yield f"{name}.{key}", tensor
