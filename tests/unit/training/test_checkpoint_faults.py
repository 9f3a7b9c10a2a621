"""Checkpoints of processes that are killed, and on disks that are full, damaged or passed on."""

import multiprocessing
import os
import random
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest
import torch

from diffrop.checkpoint_file import Checkpoint, read_checkpoint
from diffrop.training.checkpoint import CheckpointDirectory
from tests.made.checkpoints import checkpoint
from tests.made.faults import fault
from tests.made.processes import run_bare
from tests.made.small import ROOT

KILLS = 8


def save_for_ever(folder: Path) -> None:
    """Save checkpoints of 16 MiB whose every number is that of their images."""
    directory = CheckpointDirectory(folder)
    images = max(directory.images(), default=0)
    while True:
        images += 1
        tensors = {"model.a": torch.full((2**22,), float(images))}
        directory.save(images, Checkpoint(tensors, {"images_seen": images}))


def kill_while_saving(folder: Path, delay_s: float) -> bool:
    """Kill a process that saves, `delay_s` after a temporary file appeared; is one left?"""
    saving = multiprocessing.get_context("fork").Process(target=save_for_ever, args=(folder,))
    known = CheckpointDirectory(folder).images()
    saving.start()
    deadline = time.monotonic() + 120
    while CheckpointDirectory(folder).images() == known or not list(folder.glob(".*")):
        assert saving.is_alive() and time.monotonic() < deadline
    time.sleep(delay_s)
    saving.kill()
    saving.join()
    return bool(list(folder.glob(".*")))


@fault(15, "SIGKILL to a process as soon as the temporary file is there")
def test_process_killed_in_a_save_leaves_the_checkpoint_before_and_what_it_left_is_swept(
    tmp_path: Path,
) -> None:
    rng = random.Random(0)
    left = 0
    for _ in range(KILLS):
        left += kill_while_saving(tmp_path, rng.uniform(0, 0.01))
        newest = CheckpointDirectory(tmp_path).newest()
        assert newest is not None
        assert bool((newest.tensors["model.a"] == float(newest.card["images_seen"])).all())
    assert left, "no kill came in the midst of a save"
    images = CheckpointDirectory(tmp_path).images()[-1]
    CheckpointDirectory(tmp_path).save(images + 1, checkpoint())
    assert list(tmp_path.glob(".*")) == []


# Fills a file system of 8 MiB of its own with checkpoints of 3 MiB: the third does not fit.
FILLS = """
import sys, warnings
from pathlib import Path
import torch
from diffrop.checkpoint_file import Checkpoint
from diffrop.errors import CheckpointError
from diffrop.training.checkpoint import CheckpointDirectory

warnings.simplefilter("error")
directory = CheckpointDirectory(Path(sys.argv[1]), keep=9)
for images in (1, 2, 3):
    tensors = {"model.a": torch.full((3 * 2**18,), float(images))}
    try:
        directory.save(images, Checkpoint(tensors, {"images_seen": images}))
    except CheckpointError as error:
        print(error)
print(sorted(path.name for path in directory.path.iterdir()))
print(directory.newest().card["images_seen"])
"""


def mounted(folder: Path, code: str) -> str:
    """Run code where `folder` is a file system of 8 MiB, which no other process sees."""
    command = (
        f"mount -t tmpfs -o size=8m none {folder} && exec {sys.executable} -c '{code}' {folder}"
    )
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", command],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if "unshare:" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"a file system of its own cannot be mounted here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    return done.stdout


@fault(13, "a file system of 8 MiB")
def test_full_disk_names_the_file_and_leaves_what_was_there(tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    error, names, newest = mounted(folder, FILLS.replace("'", '"')).splitlines()
    assert "images_000000000003" in error and "No space left on device" in error
    assert "earlier checkpoints are untouched" in error
    assert names == str([f"images_{images:012d}.safetensors" for images in (1, 2)])
    assert newest == "2"


@fault(14, "one bit flipped, at 400 places of the file, its header first of all")
@fault(28, "one bit flipped in the header, at 200 places")
def test_every_flipped_bit_is_noticed_and_the_checkpoint_before_is_used(tmp_path: Path) -> None:
    directory = CheckpointDirectory(tmp_path)
    directory.save(64, checkpoint(1.0))
    path = directory.save(128, Checkpoint(checkpoint(2.0).tensors, {"images_seen": 128}))
    content = path.read_bytes()
    header = 8 + int.from_bytes(content[:8], "little")
    rng = random.Random(0)
    places = [rng.randrange(8 * header) for _ in range(200)]
    places += [rng.randrange(8 * header, 8 * len(content)) for _ in range(200)]
    for place in places:
        damaged = bytearray(content)
        damaged[place // 8] ^= 1 << place % 8
        path.write_bytes(damaged)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            newest = directory.newest()
        assert newest is not None and newest.card["images_seen"] == 64, f"bit {place}"
        assert len(caught) == 1 and "000128" in str(caught[0].message), f"bit {place}"


# Each argument but the first is a number of steps in a folder, done by a process of its own, which
# goes on from the folder's checkpoint, and saves at the end.
TRAINS = """
import json, os, sys
import torch
from pathlib import Path
from diffrop.data import load_dataset
from diffrop.training.checkpoint import CheckpointDirectory
from diffrop.training.trainer import Trainer
from tests.made.small import small_experiment
from tests.made.trainings import CPU, measured

torch.set_num_threads(1)
config = small_experiment(model__dropout=0.2)
for name, steps in (part.split(":") for part in sys.argv[2:]):
    if os.fork():
        os.wait()
        continue
    trainer = Trainer(config, load_dataset(config.data), CPU)
    directory = CheckpointDirectory(Path(sys.argv[1]) / name)
    before = directory.newest()
    if before is not None:
        trainer.load(before)
    for row in measured(trainer, int(steps)):
        print(json.dumps(row), flush=True)
    directory.save(trainer.images_seen, trainer.checkpoint())
    os._exit(0)
"""


@fault(16, "a process that ends in the midst, and another that goes on")
def test_training_that_another_process_goes_on_with_is_bitwise_the_uninterrupted_one(
    tmp_path: Path,
) -> None:
    rows = run_bare(TRAINS, str(tmp_path), "whole:6", "parts:3", "parts:3").splitlines()
    assert len(rows) == 12 and rows[:6] == rows[6:]
    name = "images_000000000192.safetensors"
    ours, theirs = (read_checkpoint(tmp_path / x / name).tensors for x in ("parts", "whole"))
    assert ours.keys() == theirs.keys()
    for key, tensor in ours.items():
        torch.testing.assert_close(tensor, theirs[key], rtol=0, atol=0, equal_nan=True)
