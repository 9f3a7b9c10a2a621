"""No command is silent: each tells of every step of it that takes long, and how far it is."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from diffrop.analysis.figures.registry import study_figure
from diffrop.baselines.classifier_config import ClassifierConfig
from diffrop.checkpoint_file import write_checkpoint
from diffrop.console.call import Call
from diffrop.console.shown import LOADING
from diffrop.data import load_dataset
from diffrop.engine.final_training import FinalResult
from diffrop.main import command_modules, load_command
from diffrop.training.trainer import Trainer
from tests.made.analysed_study import NINE_TRIALS, write_study
from tests.made.small import small_experiment
from tests.made.told import ToldScreen

QUICK = {"status", "reproduce"}
"""They read a few files."""
SAME = {"study loss", "study margin", "study method", "study pareto", "study schedule"}
"""They are `study tau` with other settings."""
APART = {"sample", "export", "report", "figures"}
"""Their standard output is for scripts: what they tell is not in it."""

DATA = "--dataset image_folder --data-root {root}/images --image-size 8 --imbalance-factor 0.5"
SCORED = f"{DATA} --num-samples 20 --extractor classifier --runs-root {{own}}"
SMALL_GAN = "--set base_channels=8 --set z_dim=4 --set batch_size=8 --set cycle_images=32"
CHECKPOINT = "--checkpoint {root}/images_000000000032.safetensors --omega 0"

READ = "reading the images of {root}/images"
READ_TEST = "reading the images of {root}/test"
INPUTS = [
    READ,
    "training the classifier whose features are scored",
    "features of",
    "fitting the reference",
]
COUNTED = ("reading the images", "training", "features", "drawing", "classifying", "writing 2")
"""What begins like this is told with how far it is."""

CASES = [
    ("sample", f"{CHECKPOINT} --num 1 --out {{own}}/s", ["drawing 2 images", "writing 2 images"]),
    ("export", f"{CHECKPOINT} --out {{own}}/p", ["writing the pipeline"]),
    (
        "score",
        f"{CHECKPOINT} --num-samples 20 --runs-root {{own}}",
        [*INPUTS, "drawing 20 images", "features of 20 images", "metrics"],
    ),
    (
        "score",
        f"--samples {{root}}/test {DATA} --extractor classifier --runs-root {{own}}",
        [READ, READ_TEST, *INPUTS[1:], "features of 16 images", "metrics"],
    ),
    (
        "classifier",
        f"{CHECKPOINT} --num-generated 4 {DATA} --test-root {{root}}/test --images 64 --name c "
        "--runs-root {own}",
        [
            READ,
            READ_TEST,
            "drawing 4 images",
            "training a classifier on 18 images",
            "classifying 16 images",
            "training a classifier on 12 images",
            "training a classifier on 16 images",
            "classifying 16 images",
        ],
    ),
    (
        "gan",
        f"--model cbgan --images 64 {SMALL_GAN} {SCORED} --name g",
        [
            *INPUTS,
            "training a classifier on 12 images",
            "training the GAN",
            "drawing 20 images",
            "classifying 20 images",
            "features of 20 images",
            "metrics",
        ],
    ),
    (
        "tables",
        f"--table 3 --rows long-tailed --classifier-images 64 {SCORED} "
        "--test-root {root}/test --name t",
        [READ, READ_TEST, READ, READ_TEST, "training a classifier on 12", "classifying 16"],
    ),
    ("train", f"--preset ddpm {SCORED} --name f", INPUTS),
    ("report", "{root}/study --out {own}", ["reading", "drawing: loss_forms", "drawing: cost"]),
    ("figures", "all {root}/study --out {own}", ["reading", "drawing: cost"]),
    ("figures", "cost {root}/study --out {own}", ["reading", "drawing cost"]),
    (
        "study guidance",
        "--checkpoint {root}/images_000000000032.safetensors --omegas 0 --num-samples 20 "
        "--name s --runs-root {own}",
        [*INPUTS, "scoring"],
    ),
    ("study tau", "--dry-run --runs-root {own}", ["measuring how fast this machine is"]),
]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of two classes, held-out ones, a checkpoint of them, and a finished study."""
    found, rng = tmp_path_factory.mktemp("told"), np.random.default_rng(0)
    for part in ("images", "test"):
        for name in ("cat", "dog"):
            (found / part / name).mkdir(parents=True)
            for number in range(10 if (part, name) == ("images", "cat") else 8):
                pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(found / part / name / f"{number}.png")
    config = small_experiment(
        data__dataset="image_folder",
        data__root=str(found / "images"),
        data__image_size=8,
        data__imbalance_factor=0.5,
    )
    trainer = Trainer(config, load_dataset(config.data), torch.device("cpu"))
    trainer.step()
    write_checkpoint(found / "images_000000000032.safetensors", trainer.checkpoint())
    write_study(found / "study", trials=NINE_TRIALS[:2])
    return found


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> ToldScreen:
    """Takes the place of every command's screen; what the commands do is cut short."""
    found = ToldScreen()
    monkeypatch.setattr("diffrop.console.screens.open_screen", found.opened)
    monkeypatch.setattr("diffrop.metrics.classifier.NUM_IMAGES", 256)
    monkeypatch.setattr("diffrop.console.dry_run.DRY_RUN_LIMIT_S", 0.5)
    short = ClassifierConfig(num_images=64, batch_size=32)
    monkeypatch.setattr("diffrop.baselines.gan_study.classifier_recipe", lambda name: short)
    monkeypatch.setattr(
        "diffrop.engine.final_training.train_final",
        lambda *_: FinalResult(None, "", [], interrupted=True),
    )
    drawn = [study_figure(name) for name in ("loss_forms", "cost")]
    monkeypatch.setattr("diffrop.analysis.figures.drawing.applicable_figures", lambda study: drawn)
    return found


def come_in_turn(steps: list[str], told: Iterator[str]) -> list[str]:
    """Return the steps that nobody was told of after those before them."""
    return [step for step in steps if not any(what.startswith(step) for what in told)]


@pytest.mark.parametrize(("name", "typed", "steps"), CASES)
def test_command_tells_every_step_that_takes_long(
    root: Path, screen: ToldScreen, tmp_path: Path, name: str, typed: str, steps: list[str]
) -> None:
    argv = typed.format(root=root, own=tmp_path).split()
    assert load_command(name).main(Call(f"diffrop {name}", argv, {})) in (0, 130)
    expected = [LOADING, *(step.format(root=root) for step in steps)]
    assert come_in_turn(expected, iter(screen.words)) == [], screen.told
    uncounted = [what for what, share in screen.told if what.startswith(COUNTED) and share is None]
    assert set(uncounted) <= {"drawing cost"}  # a single figure
    assert set(screen.on_stderr) == {name in APART}


def test_every_command_is_among_those_that_tell() -> None:
    assert {name for name, *_ in CASES} | QUICK | SAME == set(command_modules())
