"""The checkpoints on which ways to sample are compared, trained where they are missing.

They are the project's own trainings, longer than a trial's and without a contrastive loss, of
digits and of fashion_mnist with an imbalance factor of 0.05. A checkpoint is kept at each eighth
of a training, from which a killed run goes on; the earlier ones serve as guides. fashion_mnist
takes the files of Debian's package dataset-fashion-mnist.

    OMP_NUM_THREADS=1 python -m benchmarks.sampling_checkpoints
"""

import argparse
import gzip
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from diffrop.config import ExperimentConfig
from diffrop.data import load_dataset
from diffrop.recipes import recipe
from diffrop.storage import written_atomically
from diffrop.training.checkpoint import CheckpointDirectory
from diffrop.training.trainer import Trainer

FOLDER = Path("runs/sampling")
PARTS = 8
"""Checkpoints of a training: the guides' shares are multiples of one over it."""
PACKAGE, PACKAGED = "dataset-fashion-mnist", Path("/usr/share/datasets/fashion-mnist")
"""Debian's package of fashion_mnist, and where it puts its files, compressed."""
IDX_FILES = tuple(
    f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")
)
"""Those that torchvision reads of it."""
LONGER: Mapping[str, Any] = {
    "data.imbalance_factor": 0.05,
    "contrastive.form": "none",
    "training.ema_lengths": [0.05, 0.15],
}
SMALL_FASHION: Mapping[str, Any] = {
    "model.base_channels": 8,
    "model.num_res_blocks": 1,
    "model.attention_resolutions": [7],
    "model.dropout": 0.0,
    "training.batch_size": 64,
    "training.learning_rate": 1e-3,
    "training.warmup_images": 2_560,
    "training.precision": "fp32",
}
"""What makes of fashion_mnist's recipe a training that two CPU cores bear."""
TRAININGS: Mapping[str, Mapping[str, Any]] = {
    "digits": {**LONGER, "training.num_images": 61_440},
    "fashion_mnist": {**LONGER, **SMALL_FASHION, "training.num_images": 40_960},
}
"""What each has beside its dataset's recipe: digits three times a trial's images."""


def config_of(name: str, data: Path) -> ExperimentConfig:
    """Return the configuration of a training; `data` is where torchvision's sets lie."""
    values = TRAININGS[name]
    each = values["training.num_images"] // PARTS
    own = {"training.checkpoint_every_images": each, "training.log_every_images": each}
    root = None if name == "digits" else str(data)
    return recipe(name).experiment.with_values({**values, **own, "data.root": root})


def checkpoint_of(name: str, folder: Path, data: Path = Path("data")) -> Path:
    """Return the file of a training's last checkpoint; what is missing of it is trained.

    Args:
        name: of `TRAININGS`.
        folder: with a folder for each training.
        data: where torchvision's sets lie.

    Raises:
        ValueError: the images are not there; see `unpack`.
    """
    provide_images(name, data)
    config = config_of(name, data)
    kept = CheckpointDirectory(folder / name, keep=PARTS)
    path, end = kept.path_of(config.training.num_images), config.training.num_images
    if path.exists():
        return path
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    trainer = Trainer(config, load_dataset(config.data), device)
    if (newest := kept.newest(device)) is not None:
        trainer.load(newest)

    def save() -> None:
        kept.save(trainer.images_seen, trainer.checkpoint())

    def log(row: dict[str, float]) -> None:
        print(f"{time.strftime('%H:%M:%S')} {name}, {trainer.images_seen:,}: {row}", flush=True)

    trainer.train_until(end, log=log, save=save)
    save()
    return path


def provide_images(name: str, data: Path) -> None:
    """Put the images of a training where it reads them, in place of any download.

    Raises:
        ValueError: the files of Debian's package are not there; see `unpack`.
    """
    if name == "fashion_mnist":
        unpack(PACKAGED, data / "FashionMNIST" / "raw")


def unpack(source: Path, target: Path) -> None:
    """Write fashion_mnist's compressed files of a folder to another, as torchvision reads them.

    Raises:
        ValueError: one is in neither folder.
    """
    missing = [name for name in IDX_FILES if not (target / name).exists()]
    for name in missing:
        if not (source / f"{name}.gz").exists():
            raise ValueError(
                f"fashion_mnist's {name} is not in {target}, nor {name}.gz in {source}. To fix: "
                f"apt-get install {PACKAGE}"
            )
    target.mkdir(parents=True, exist_ok=True)
    for name in missing:
        with written_atomically(target / name) as temporary:
            temporary.write_bytes(gzip.decompress((source / f"{name}.gz").read_bytes()))


def main() -> None:
    """Train what is missing."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--folder", type=Path, default=FOLDER, help="keeps the checkpoints (%(default)s)")
    add("--data", type=Path, default=Path("data"), help="of torchvision's sets (%(default)s)")
    args = parser.parse_args()
    try:
        for name in TRAININGS:
            provide_images(name, args.data)
    except ValueError as error:
        parser.error(str(error))
    for name in TRAININGS:
        print(checkpoint_of(name, args.folder, args.data))


if __name__ == "__main__":
    main()
