"""Draw images from a checkpoint: a folder of PNGs for each class or an .npz, and a grid."""

import argparse
from typing import TYPE_CHECKING

from diffrop.activity import Tell
from diffrop.console.call import Call
from diffrop.console.drawing import Drawing, add_drawing, drawing_of
from diffrop.console.options import command_parser
from diffrop.console.shown import told_apart
from diffrop.console.typed import at_least_1, local_path, new_folder, seed
from diffrop.edge import errors_to_exit

if TYPE_CHECKING:
    from diffrop.data import LabelledImages


def parser(command: str) -> argparse.ArgumentParser:
    """Return the parser of the options."""
    found = command_parser(command, __doc__, None)
    add = found.add_argument
    add("--checkpoint", type=local_path, required=True, metavar="FILE", help="a .safetensors file")
    add("--labels", default="all", metavar="X,X,...", help="class names or numbers (all)")
    add("--num", type=at_least_1, default=8, metavar="N", help="images of each label (8)")
    add_drawing(found)
    add("--seed", type=seed, default=0, metavar="N", help="of the noise (0)")
    words = "a folder of PNGs for each class, or samples.npz with arr_0 and arr_1 (folders)"
    add("--format", choices=("folders", "npz"), default="folders", help=words)
    add("--out", type=new_folder, default="samples", metavar="DIR", help="new folder (samples)")
    return found


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


def draw(args: argparse.Namespace, how: Drawing, tell: Tell) -> "LabelledImages":
    """Return the images, with the labels and the names of the checkpoint's classes.

    How far it is, is told.

    Raises:
        ValueError: an option does not fit the checkpoint.
        CheckpointError: the checkpoint is damaged or foreign.
    """
    import torch

    from diffrop.checkpoint_file import read_checkpoint
    from diffrop.scoring.checkpoint_samples import draw_from, sampling_of

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    checkpoint = read_checkpoint(args.checkpoint)
    sampling = sampling_of(checkpoint, how.sampler)
    labels = chosen_labels(args.labels, checkpoint.card["class_names"]) * args.num
    wanted = torch.tensor(labels)
    return draw_from(checkpoint, sampling, wanted, how.omega, args.seed, device, tell)


def write(samples: "LabelledImages", args: argparse.Namespace, tell: Tell) -> str:
    """Write the images, and a grid with a column for each label; return what was written.

    How far it is, is told.
    """
    from diffrop.data.sample_sets import write_class_folders, write_npz
    from diffrop.scoring.grid import save_grid

    if args.format == "npz":
        write_npz(samples, args.out / "samples.npz")
    else:
        write_class_folders(samples, args.out, tell)
    save_grid(samples.images, len(samples.images) // args.num, args.out / "grid.png")
    held = "in samples.npz" if args.format == "npz" else "in a folder for each class"
    return f"{len(samples.images)} images {held}, and grid.png (one column for each label)"


def main(call: Call) -> int:
    """Sample and write; return the exit code."""
    args = parser(call.command).parse_args(call.argv)
    with errors_to_exit(call.argv):
        how = drawing_of(args.checkpoint, args.omega, args.sampler)
        with told_apart() as tell:
            written = write(draw(args, how, tell), args, tell)
        if how.words:
            print(how.words)
        print(f"{args.out}/: {written}")
        return 0
