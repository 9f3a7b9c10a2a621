"""The tutorial and the how-to pages, typed from top to bottom, with smaller numbers."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import optuna
import pytest
import torch
from PIL import Image

from diffrop.checkpoint_file import write_checkpoint
from diffrop.data import load_dataset
from diffrop.training.trainer import Trainer
from tests.made.pages import DOCS, save_files, shell_blocks, write_changed_checkout
from tests.made.small import ROOT, small_experiment

pytestmark = [pytest.mark.timeout(1200), pytest.mark.long]
STUDY = (
    "--images 512 --num-samples 100 --first-rung 256 --rung-samples 50 --omegas 0,1 --confirm 0 "
    "--set sampling.num_steps=2 --set training.checkpoint_every_images=128"
)
FEWER = {
    "first": "--trials 4",
    "second": "--trials 4",
    "--confirm": "--confirm 1 --seeds 2",
}
"""What is asked for in place of more, by a word of the command; the last of an option counts."""
FINAL = "--images 640 --num-samples 60"


def smaller(command: str) -> str:
    """Return a command of a page with numbers for a test behind its own."""
    if "studies/train_gan.py" in command:
        return f"{command} --images 640 --num-samples 60"
    if "studies/run_classifier_augmentation.py" in command:
        return f"{command} --images 640"
    if "studies/train_final.py" in command or command.startswith("diffrop train "):
        return f"{command} {FINAL}"
    if "studies/run_" not in command and not command.startswith("diffrop study "):
        return command
    more = [options for word, options in FEWER.items() if word in command.split()]
    return " ".join([command, STUDY, *more])


def type_page(page: Path, folder: Path) -> str:
    """Type what a page says in a folder; return what was printed.

    The folder is a checkout, or else becomes like one.
    """
    for name in ("studies", "diffrop", "analysis", "search_spaces"):
        if not (folder / name).exists():
            (folder / name).symlink_to(ROOT / name)
    save_files(page, folder)
    typed = [block for block in shell_blocks(page) if block.runs_here]
    lines = [smaller(command) for block in typed for command in block.commands]
    search = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        ["bash", "-ec", "\n".join(lines)],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": search,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def finished_trials(folder: Path, name: str) -> int:
    """Return how many trials of a study have ended."""
    storage = f"sqlite:///{folder / 'runs' / name / 'study.db'}"
    trials = optuna.load_study(study_name=name, storage=storage).trials
    return sum(trial.state.is_finished() for trial in trials)


def test_tutorial_leads_from_a_first_study_to_an_exported_model(tmp_path: Path) -> None:
    type_page(DOCS / "tutorial.md", tmp_path)
    assert [finished_trials(tmp_path, name) for name in ("first", "second")] == [4, 4]
    for name in ("first", "second"):
        assert (tmp_path / "runs" / name / "report.html").exists()
    assert (tmp_path / "runs/second/confirm.json").exists()
    assert (tmp_path / "pipeline/model_index.json").exists()
    assert {path.parent.name for path in (tmp_path / "samples").glob("*/*.png")} == set("789")


def test_own_images_make_a_study(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name, count in (("cat", 60), ("lynx", 30), ("ocelot", 15)):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(count):
            pixels = rng.integers(0, 256, (24, 20, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{number:04}.png")
    text = type_page(DOCS / "how-to" / "images.md", tmp_path)
    assert "lynx" in text
    assert finished_trials(tmp_path, "photos16") == 5


def test_study_goes_on_to_more_trials(tmp_path: Path) -> None:
    type_page(DOCS / "how-to" / "resume.md", tmp_path)
    assert finished_trials(tmp_path, "s1") == 5


def test_images_are_scored_as_the_page_says(tmp_path: Path) -> None:
    config = small_experiment(evaluation__num_samples=1_000)
    trainer = Trainer(config, load_dataset(config.data), torch.device("cpu"))
    trainer.step()
    path = tmp_path / "runs/final/training/images_000000000032.safetensors"
    path.parent.mkdir(parents=True)
    write_checkpoint(path, trainer.checkpoint())
    text = type_page(DOCS / "how-to" / "score.md", tmp_path)
    of_checkpoint, of_folder = re.findall(r"^fid +(.*)", text, re.M)[:2]
    assert of_checkpoint == of_folder
    assert (tmp_path / "checkpoint.json").exists() and (tmp_path / "digits.npz").exists()


def test_baselines_are_trained_as_the_page_says(tmp_path: Path) -> None:
    text = type_page(DOCS / "baselines.md", tmp_path)
    assert "+ 1,000" in text
    assert list((tmp_path / "figures").glob("toy_landscape.*"))


def test_extensions_are_there_for_the_commands(tmp_path: Path) -> None:
    text = type_page(DOCS / "extend.md", write_changed_checkout(tmp_path))
    assert "vertical" in text and "toy_landscape" in text
    (final,) = (tmp_path / "runs").glob("final-*")
    assert list(final.glob("training/*.safetensors"))
