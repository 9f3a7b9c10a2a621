"""Draw images from a checkpoint: one PNG an image, and a grid."""

import argparse
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffrop.config import SamplingConfig
from diffrop.console.options import add_sampler, command_parser
from diffrop.console.typed import at_least_0, at_least_1, local_path, new_folder, seed
from diffrop.edge import errors_to_exit

if TYPE_CHECKING:
    import torch


def parse(argv: list[str]) -> argparse.Namespace:
    """Return the parsed options."""
    parser = command_parser(__doc__, None)
    add = parser.add_argument
    add("--checkpoint", type=local_path, required=True, metavar="FILE", help="a .safetensors file")
    add("--labels", default="all", metavar="X,X,...", help="class names or numbers (all)")
    add(
        "--omega",
        type=at_least_0,
        default=0.0,
        metavar="X",
        help="guidance scale (0, no guidance)",
    )
    add("--num", type=at_least_1, default=8, metavar="N", help="images of each label (8)")
    add_sampler(parser)
    add("--seed", type=seed, default=0, metavar="N", help="of the noise (0)")
    add("--out", type=new_folder, default="samples", metavar="DIR", help="new folder (samples)")
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


def sampling_config(args: argparse.Namespace, card: dict[str, Any]) -> SamplingConfig:
    """Return the sampling that is asked for, the checkpoint's own by default.

    Args:
        args: of `parse`.
        card: what is stored with the checkpoint.

    Raises:
        ValueError: there is no such sampler, number of steps or average.
    """
    if "gan" in card:
        raise ValueError(
            f"{args.checkpoint} is a GAN's; allowed: a diffusion model's. The GAN's samples.png "
            "lies beside its checkpoints"
        )
    from diffrop.study.sampling_choice import with_sampler
    from diffrop.training.checkpoint import config_of

    config = config_of(card)
    return (config if args.sampler is None else with_sampler(config, args.sampler)).sampling


def draw(args: argparse.Namespace) -> tuple["torch.Tensor", list[str]]:
    """Return images (N, C, H, W) in uint8, and the name of each one's class.

    Raises:
        ValueError: an option does not fit the checkpoint.
        CheckpointError: the checkpoint is damaged or foreign.
    """
    import torch

    from diffrop.checkpoint_file import read_checkpoint
    from diffrop.diffusion.schedule import NoiseSchedule
    from diffrop.scoring.samples import draw_samples
    from diffrop.training.checkpoint import config_of
    from diffrop.training.network import load_ema, load_guide

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    checkpoint = read_checkpoint(args.checkpoint)
    card = checkpoint.card
    names = card["class_names"]
    labels = chosen_labels(args.labels, names) * args.num
    sampling = sampling_config(args, card)
    channels, height, width = card["image_shape"]
    images = draw_samples(
        load_ema(checkpoint, device, sampling.ema_length),
        NoiseSchedule.linear(config_of(card).diffusion).to(device),
        sampling,
        (channels, height, width),
        torch.tensor(labels),
        args.omega,
        len(names),
        args.seed,
        guide=load_guide(checkpoint, device, sampling.guide),
    )
    return images.cpu(), [names[label] for label in labels]


def file_name(class_name: str) -> str:
    """Return what of a class's name can stand in the name of a file on every system."""
    return re.sub(r"[^\w.-]", "_", class_name)[:60]


def write_images(images: "torch.Tensor", names: list[str], num_columns: int, out: Path) -> None:
    """Write one PNG for each image, and a grid of all."""
    from PIL import Image

    from diffrop.scoring.grid import save_grid

    out.mkdir(parents=True, exist_ok=True)
    for number, (image, name) in enumerate(zip(images, names, strict=True)):
        pixels = image.permute(1, 2, 0).squeeze(-1).numpy()
        Image.fromarray(pixels).save(out / f"{number:05d}-{file_name(name)}.png")
    save_grid(images, num_columns, out / "grid.png")


def main(argv: list[str]) -> int:
    """Sample and write; return the exit code."""
    args = parse(argv)
    with errors_to_exit(argv):
        images, names = draw(args)
        write_images(images, names, len(images) // args.num, args.out)
        print(f"{len(images)} images and grid.png in {args.out}/ (one column for each label)")
        return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
