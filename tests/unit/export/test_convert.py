"""An exported folder, loaded by diffusers alone, draws what the checkpoint draws."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DModel
from torch import nn

from diffrop.checkpoint_file import Checkpoint, read_checkpoint, write_checkpoint
from diffrop.config import ExperimentConfig, ModelConfig
from diffrop.errors import CheckpointError
from diffrop.export import export_pipeline
from diffrop.export.convert import renamed, unet_settings
from diffrop.models.unet import UNet
from tests.made.pipelines import load
from tests.made.small import ROOT


def test_defaults_and_card_are_those_of_the_checkpoint(
    checkpoint: Checkpoint, folder: Path
) -> None:
    pipeline = load(folder)
    assert pipeline.config.guidance_scale == 0.5
    assert (
        pipeline.config.num_inference_steps == checkpoint.card["config"]["sampling"]["num_steps"]
    )
    assert json.loads((folder / "card.json").read_text()) == checkpoint.card


def test_the_papers_network_maps_onto_diffusers_own() -> None:
    torch.manual_seed(0)
    config = ExperimentConfig(model=ModelConfig(base_channels=32, dropout=0.0))
    network = UNet(config.model, 10, (3, 32, 32)).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    card = {"image_shape": [3, 32, 32], "class_names": [str(i) for i in range(10)]}
    theirs = UNet2DModel(**unet_settings(config, network, card)).eval()
    theirs.load_state_dict(dict(renamed(network)))
    groups = {
        m.num_channels: m.num_groups for m in network.modules() if isinstance(m, nn.GroupNorm)
    }
    for module in theirs.modules():
        if isinstance(module, nn.GroupNorm):
            module.num_groups = groups[module.num_channels]
    x, t, labels = torch.randn(2, 3, 32, 32), torch.tensor([3, 900]), torch.tensor([0, 10])
    with torch.no_grad():
        torch.testing.assert_close(
            theirs(x, t, labels).sample, network(x, t, labels), atol=1e-4, rtol=1e-4
        )


def test_folder_with_files_is_refused(checkpoint: Checkpoint, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"is not empty\. To fix: name a new one"):
        export_pipeline(checkpoint, tmp_path, omega=0.0)


def test_gan_is_refused(checkpoint: Checkpoint, tmp_path: Path) -> None:
    gan = Checkpoint(checkpoint.tensors, {**checkpoint.card, "gan": {}})
    with pytest.raises(CheckpointError, match="a GAN has no diffusers pipeline"):
        export_pipeline(gan, tmp_path / "out", omega=0.0)


def test_command_writes_the_folder(checkpoint: Checkpoint, tmp_path: Path) -> None:
    file = tmp_path / "checkpoint.safetensors"
    write_checkpoint(file, checkpoint)
    assert read_checkpoint(file).card == checkpoint.card
    command = [sys.executable, str(ROOT / "studies" / "export_pipeline.py")]
    command += ["--checkpoint", str(file), "--out", str(tmp_path / "out"), "--omega", "1.5"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "trust_remote_code=True" in done.stdout
    assert load(tmp_path / "out").config.guidance_scale == 1.5
