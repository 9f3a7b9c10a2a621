from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from diffrop.checkpoint_file import write_checkpoint
from diffrop.config import DataConfig
from diffrop.data import load_dataset
from diffrop.training.trainer import Trainer
from tests.made.commands import command
from tests.made.small import small_experiment


def refusal(main: Callable[[list[str]], int], options: list[str], runs: Path) -> None:
    """Run a command that must end with exit code 2 and leave no folder."""
    with pytest.raises(SystemExit) as ended:
        main([*options, "--runs-root", str(runs)])
    assert ended.value.code == 2
    assert not runs.exists()


def test_classifier_command_says_that_the_generated_row_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main = command("run_classifier_augmentation")
    assert main(["--images", "32", "--runs-root", str(tmp_path), "--name", "table"]) == 0
    printed = capsys.readouterr().out
    assert "No --checkpoint was given, so there is no row with generated images." in printed
    assert max(map(len, printed.splitlines())) <= 80 or str(tmp_path) in printed
    assert (tmp_path / "table" / "results.json").exists()


def test_classifier_command_refuses_a_checkpoint_of_other_images(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = DataConfig(dataset="digits", imbalance_factor=0.1)
    trainer = Trainer(small_experiment(), load_dataset(data), torch.device("cpu"))
    path = tmp_path / "c.safetensors"
    write_checkpoint(path, trainer.checkpoint())
    options = ["--checkpoint", str(path), "--imbalance-factor", "0.5"]
    refusal(command("run_classifier_augmentation"), options, tmp_path / "runs")
    message = capsys.readouterr().err
    assert message.startswith("error: the checkpoint was trained on other images")
    assert message.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--num-samples", "0"], "error: --num-samples: num_samples is 0; allowed: at least 2"),
        (["--set", "spectral_weight=-1"], "spectral_weight is -1.0; allowed: 0 or more"),
        (["--set", "lambda=1"], "unknown configuration key 'lambda'; nearest: "),
        (["--resume"], "--resume needs --name"),
        (["--resume", "--name", "none"], "does not exist"),
        (
            ["--imbalance-factor", "much"],
            "--imbalance-factor: 'much' is no factor; allowed: a number, or own",
        ),
        (
            ["--dataset", "image_folder"],
            "data root is None. To fix: name a folder with --data-root",
        ),
    ],
)
def test_gan_command_refuses_before_anything_starts(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refusal(command("train_gan"), options, tmp_path / "runs")
    assert message in capsys.readouterr().err
