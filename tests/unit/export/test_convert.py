"""An exported folder, loaded by diffusers alone, draws what the checkpoint draws."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from diffusers import DiffusionPipeline, UNet2DModel
from torch import nn

from diffrop.checkpoint_file import Checkpoint, read_checkpoint, write_checkpoint
from diffrop.config import ExperimentConfig, ModelConfig
from diffrop.data import load_dataset
from diffrop.diffusion.sampling import sample
from diffrop.diffusion.schedule import NoiseSchedule
from diffrop.errors import CheckpointError
from diffrop.export import export_pipeline
from diffrop.export.convert import renamed, unet_settings
from diffrop.models.unet import UNet
from diffrop.training.network import load_ema
from diffrop.training.trainer import Trainer
from tests.made.small import ROOT, small_experiment

SMALL = {
    "model.base_channels": 16,
    "model.channel_multipliers": [1, 2],
    "model.num_res_blocks": 2,
    "model.attention_resolutions": [4],
    "training.ema_lengths": [0.1],
}


def trained(**changes: object) -> Checkpoint:
    """The checkpoint of a few steps, with every weight moved from its start."""
    config = small_experiment().with_values(SMALL | changes)
    trainer = Trainer(config, load_dataset(config.data), torch.device("cpu"))
    trainer.train_until(96)
    generator = torch.Generator().manual_seed(1)
    for tensor in trainer.ema.model.parameters():
        tensor.add_(torch.randn(tensor.shape, generator=generator), alpha=0.05)
    return trainer.checkpoint()


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return trained()


@pytest.fixture(scope="module")
def folder(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pipeline") / "out"
    export_pipeline(checkpoint, out, omega=0.5)
    return out


def load(folder: Path) -> DiffusionPipeline:
    pipeline = DiffusionPipeline.from_pretrained(folder, trust_remote_code=True)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.mark.parametrize("omega", [0.0, 0.5, 2.0])
def test_diffusers_draws_the_same_images(
    checkpoint: Checkpoint, folder: Path, omega: float
) -> None:
    labels, seed = [0, 3, 9, 3], 5
    config = ExperimentConfig.from_dict(checkpoint.card["config"])
    ours = sample(
        load_ema(checkpoint, torch.device("cpu")),
        NoiseSchedule.linear(config.diffusion),
        config.sampling,
        (1, 8, 8),
        torch.tensor(labels),
        omega,
        10,
        torch.Generator().manual_seed(seed),
    )
    theirs = load(folder)(
        labels,
        guidance_scale=omega,
        generator=torch.Generator().manual_seed(seed),
        output_type="pt",
    ).images
    assert ours.std() > 0.1
    torch.testing.assert_close(theirs, ours, atol=1e-3, rtol=0)


def test_ancestral_sampler_travels_with_the_folder(tmp_path: Path) -> None:
    found = trained(**{"sampling.sampler": "ancestral", "diffusion.num_timesteps": 20})
    export_pipeline(found, tmp_path / "out", omega=1.0)
    config = ExperimentConfig.from_dict(found.card["config"])
    ours = sample(
        load_ema(found, torch.device("cpu")),
        NoiseSchedule.linear(config.diffusion),
        config.sampling,
        (1, 8, 8),
        torch.tensor([1, 2]),
        1.0,
        10,
        torch.Generator().manual_seed(0),
    )
    theirs = load(tmp_path / "out")(
        [1, 2], generator=torch.Generator().manual_seed(0), output_type="pt"
    ).images
    torch.testing.assert_close(theirs, ours, atol=1e-3, rtol=0)


def test_folder_needs_diffusers_alone(folder: Path) -> None:
    code = (
        "import sys; from diffusers import DiffusionPipeline\n"
        f"p = DiffusionPipeline.from_pretrained({str(folder)!r}, trust_remote_code=True)\n"
        "image = p(['3', 7], num_inference_steps=2).images[1]\n"
        "assert image.size == (8, 8), image.size\n"
        "assert not any(name.partition('.')[0] == 'diffrop' for name in sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=folder, timeout=200)


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


def test_unknown_label_is_refused_naming_the_classes(folder: Path) -> None:
    with pytest.raises(ValueError, match="class label is 10; allowed: 0 to 9, or 0, 1"):
        load(folder)([10])


def test_folder_with_files_is_refused(checkpoint: Checkpoint, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="is not empty; allowed: a new one"):
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
