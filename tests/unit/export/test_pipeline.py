import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from diffrop.checkpoint_file import Checkpoint, read_checkpoint, write_checkpoint
from diffrop.config import ExperimentConfig
from diffrop.diffusion.sampling import num_guided_evaluations, sample
from diffrop.diffusion.schedule import NoiseSchedule
from diffrop.export import export_pipeline
from diffrop.study.sampling_choice import with_sampler
from diffrop.training.network import load_ema, load_guide
from tests.made.pipelines import load, trained

SCHEDULERS = {
    "ddim-1": "DPMSolverMultistepScheduler",
    "ddim-7": "DPMSolverMultistepScheduler",
    "dpmpp-1": "DPMSolverMultistepScheduler",
    "dpmpp-5": "DPMSolverMultistepScheduler",
    "dpmpp-20": "DPMSolverMultistepScheduler",
    "heun-1": "HeunDiscreteScheduler",
    "heun-8": "HeunDiscreteScheduler",
    "ancestral": "DDPMScheduler",
}


def drawn(
    checkpoint: Checkpoint, labels: list[int], omega: float, seed: int, sampler: str | None = None
) -> Tensor:
    """Images of our own sampler."""
    config = ExperimentConfig.from_dict(checkpoint.card["config"])
    if sampler is not None:
        config = with_sampler(config, sampler)
    return sample(
        load_ema(checkpoint, torch.device("cpu")),
        NoiseSchedule.linear(config.diffusion),
        config.sampling,
        (1, 8, 8),
        torch.tensor(labels),
        omega,
        10,
        torch.Generator().manual_seed(seed),
        guide=load_guide(checkpoint, torch.device("cpu"), config.sampling.guide),
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


@pytest.fixture(scope="module")
def coarse() -> Checkpoint:
    """A checkpoint with 20 timesteps."""
    return trained(**{"diffusion.num_timesteps": 20})


@pytest.mark.parametrize(("sampler", "scheduler"), SCHEDULERS.items())
@pytest.mark.parametrize("clipping", ["", "-unclipped"])
def test_every_sampler_travels_as_diffusers_own_scheduler(
    coarse: Checkpoint, tmp_path: Path, sampler: str, scheduler: str, clipping: str
) -> None:
    export_pipeline(coarse, tmp_path / "out", omega=1.0, sampler=sampler + clipping)
    pipeline = load(tmp_path / "out")
    assert type(pipeline.scheduler).__name__ == scheduler
    ours = drawn(coarse, [1, 2], 1.0, 0, sampler + clipping)
    theirs = pipeline([1, 2], generator=torch.Generator().manual_seed(0), output_type="pt").images
    assert (ours.abs().max() > 1) == bool(clipping)
    torch.testing.assert_close(theirs, ours, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("sampler", ["ddim-7", "dpmpp-5", "heun-8", "ancestral-20"])
def test_interval_of_guidance_travels(coarse: Checkpoint, tmp_path: Path, sampler: str) -> None:
    name = f"{sampler}-guided-0.3-0.7"
    export_pipeline(coarse, tmp_path / "out", omega=2.0, sampler=name)
    pipeline, sizes = load(tmp_path / "out"), list[int]()
    pipeline.unet.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    ours = drawn(coarse, [1, 2], 2.0, 0, name)
    theirs = pipeline([1, 2], generator=torch.Generator().manual_seed(0), output_type="pt").images
    torch.testing.assert_close(theirs, ours, atol=1e-3, rtol=1e-3)
    config = with_sampler(ExperimentConfig.from_dict(coarse.card["config"]), name)
    wanted = num_guided_evaluations(config.sampling, config.diffusion, 2.0)
    assert sum(sizes) / 2 == wanted and set(sizes) == {2, 4}
    assert (ours - drawn(coarse, [1, 2], 2.0, 0, sampler)).abs().max() > 0.01


@pytest.mark.parametrize("sampler", ["ddim-7", "dpmpp-5", "heun-8", "ancestral-20"])
def test_guide_travels_as_a_second_network(
    coarse: Checkpoint, tmp_path: Path, sampler: str
) -> None:
    paths = [tmp_path / f"training/images_{count:012d}.safetensors" for count in (32, 96)]
    weaker = {name: 0.9 * tensor for name, tensor in coarse.tensors.items()}
    card = coarse.card | {"images_seen": 32}
    write_checkpoint(paths[0], Checkpoint(weaker, card))
    write_checkpoint(paths[1], coarse)
    checkpoint, name = read_checkpoint(paths[1]), f"{sampler}-guided-0.3-1-guide-0.3"
    export_pipeline(checkpoint, tmp_path / "out", omega=2.0, sampler=name)
    pipeline = load(tmp_path / "out")
    ours = drawn(checkpoint, [1, 2], 2.0, 0, name)
    theirs = pipeline([1, 2], generator=torch.Generator().manual_seed(0), output_type="pt").images
    torch.testing.assert_close(theirs, ours, atol=1e-3, rtol=1e-3)
    plain = drawn(checkpoint, [1, 2], 2.0, 0, f"{sampler}-guided-0.3-1")
    assert (ours - plain).abs().max() > 0.01
    with pytest.raises(ValueError, match=r"guide is 0\.7.*; allowed: 0\.3 \(32 images\)"):
        export_pipeline(checkpoint, tmp_path / "no", omega=2.0, sampler=f"{sampler}-guide-0.7")
    assert not (tmp_path / "no").exists()


def test_sampler_that_the_checkpoint_cannot_do_is_refused(
    coarse: Checkpoint, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"ddim-21.*1 to 20 steps.*LENGTH, one of 0\.1"):
        export_pipeline(coarse, tmp_path / "out", omega=0.0, sampler="ddim-21")
    assert not (tmp_path / "out").exists()


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
