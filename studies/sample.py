"""Draw images from a checkpoint: one PNG an image, and a grid."""

import argparse
import sys
from pathlib import Path

import torch
from PIL import Image

from diffrop.checkpoint_file import Checkpoint, read_checkpoint
from diffrop.config import SamplingConfig
from diffrop.console.options import Formatter
from diffrop.diffusion.schedule import NoiseSchedule
from diffrop.errors import errors_to_exit
from diffrop.scoring.grid import save_grid
from diffrop.scoring.samples import draw_samples
from diffrop.training.checkpoint import config_of
from diffrop.training.network import load_ema


def parse(argv: list[str]) -> argparse.Namespace:
    """Return the parsed options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Formatter)
    add = parser.add_argument
    add("--checkpoint", type=Path, required=True, metavar="FILE", help="a .safetensors file")
    add("--labels", default="all", metavar="X,X,...", help="class names or numbers (all)")
    add("--omega", type=float, default=0.0, metavar="X", help="guidance scale (0, no guidance)")
    add("--num", type=int, default=8, metavar="N", help="images of each label (8)")
    add("--sampler", choices=("ddim", "ancestral"), help="(as in the checkpoint's study)")
    add("--steps", type=int, metavar="N", help="DDIM steps (as in the checkpoint's study)")
    add(
        "--ema-length",
        type=float,
        metavar="X",
        help="one of the checkpoint's training.ema_lengths (as in the checkpoint's study)",
    )
    add("--seed", type=int, default=0, metavar="N", help="of the noise (0)")
    add("--out", type=Path, default=Path("samples"), metavar="DIR", help="new folder (samples)")
    return parser.parse_args(argv)


def chosen_labels(text: str, class_names: list[str]) -> list[int]:
    """Return label numbers for "all", or for names and numbers divided by commas.

    Raises:
        ValueError: a name or number is none of the checkpoint's classes.
    """
    if text == "all":
        return list(range(len(class_names)))
    numbers = {name: number for number, name in enumerate(class_names)}
    numbers |= {
        str(number): number for number in range(len(class_names)) if str(number) not in numbers
    }
    unknown = [part for part in text.split(",") if part.strip() not in numbers]
    if unknown:
        raise ValueError(
            f"label {unknown[0]!r} is no class of this checkpoint; allowed: all, "
            f"{', '.join(class_names)}, or 0 to {len(class_names) - 1}"
        )
    return [numbers[part.strip()] for part in text.split(",")]


def sampling_config(args: argparse.Namespace, checkpoint: Checkpoint) -> SamplingConfig:
    """Return the checkpoint's own sampling, with what the options change.

    Raises:
        ValueError: a sampler, a number of steps, an average, or omega or num is not allowed.
    """
    if args.num < 1 or args.omega < 0:
        raise ValueError(f"num is {args.num}, omega {args.omega}; allowed: 1 or more, 0 or more")
    if "gan" in checkpoint.card:
        raise ValueError(
            f"{args.checkpoint} is a GAN's; allowed: a diffusion model's (the GAN's samples.png "
            "lies beside its checkpoints)"
        )
    config = config_of(checkpoint.card)
    changes = {
        "sampling.sampler": args.sampler,
        "sampling.num_steps": args.steps,
        "sampling.ema_length": args.ema_length,
    }
    given = {key: value for key, value in changes.items() if value is not None}
    return config.with_values(given).sampling


def main(argv: list[str]) -> int:
    """Sample and write; return the exit code."""
    args = parse(argv)
    with errors_to_exit():
        if args.out.exists() and any(args.out.iterdir()):
            raise ValueError(f"folder {str(args.out)!r} is not empty; allowed: a new --out")
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        checkpoint = read_checkpoint(args.checkpoint)
        card = checkpoint.card
        names = card["class_names"]
        labels = chosen_labels(args.labels, names)
        sampling = sampling_config(args, checkpoint)
        schedule = NoiseSchedule.linear(config_of(card).diffusion).to(device)
        order = torch.tensor(labels).repeat(args.num)
        channels, height, width = card["image_shape"]
        images = draw_samples(
            load_ema(checkpoint, device, sampling.ema_length),
            schedule,
            sampling,
            (channels, height, width),
            order,
            args.omega,
            len(names),
            args.seed,
        ).cpu()
    args.out.mkdir(parents=True, exist_ok=True)
    for number, (image, label) in enumerate(zip(images, order.tolist(), strict=True)):
        pixels = image.permute(1, 2, 0).squeeze(-1).numpy()
        Image.fromarray(pixels).save(args.out / f"{number:05d}-{names[label]}.png")
    save_grid(images, len(labels), args.out / "grid.png")
    print(f"{len(images)} images and grid.png in {args.out}/ (one column for each label)")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
