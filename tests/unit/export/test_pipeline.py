import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from diffrop.checkpoint_file import Checkpoint
from diffrop.config import ExperimentConfig
from diffrop.diffusion.sampling import sample
from diffrop.diffusion.schedule import NoiseSchedule
from diffrop.export import export_pipeline
from diffrop.training.network import load_ema
from tests.made.pipelines import load, trained


def drawn(checkpoint: Checkpoint, labels: list[int], omega: float, seed: int) -> Tensor:
    """Images of our own sampler."""
    config = ExperimentConfig.from_dict(checkpoint.card["config"])
    return sample(
        load_ema(checkpoint, torch.device("cpu")),
        NoiseSchedule.linear(config.diffusion),
        config.sampling,
        (1, 8, 8),
        torch.tensor(labels),
        omega,
        10,
        torch.Generator().manual_seed(seed),
    )


@pytest.mark.parametrize("omega", [0.0, 0.5, 2.0])
def test_diffusers_draws_the_same_images(
    checkpoint: Checkpoint, folder: Path, omega: float
) -> None:
    labels, seed = [0, 3, 9, 3], 5
    ours = drawn(checkpoint, labels, omega, seed)
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
    ours = drawn(found, [1, 2], 1.0, 0)
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


def test_unknown_label_is_refused_naming_the_classes(folder: Path) -> None:
    with pytest.raises(ValueError, match="class label is 10; allowed: 0 to 9, or 0, 1"):
        load(folder)([10])
