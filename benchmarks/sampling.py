"""Time the sampler's denoising evaluations, as the studies run them, beside plain float32.

An evaluation with guidance counts as two. All ratios are of this run.

    python -m benchmarks.sampling
"""

import argparse
import copy
import itertools
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks import aims
from benchmarks.gpu import device, gpu
from benchmarks.measure import (
    Row,
    experiment,
    flops_per_image,
    judged,
    made_images,
    matrix_ceiling,
    report,
    seconds,
    with_peak,
)
from benchmarks.sizes import sizes
from diffrop.config import Precision, SamplingConfig
from diffrop.diffusion.denoiser import FastDenoiser
from diffrop.diffusion.sampling import guided_noise, sample
from diffrop.diffusion.schedule import NoiseSchedule
from diffrop.models.unet import UNet


class Bench:
    """A network and the images that it evaluates."""

    def __init__(self, batch_size: int) -> None:
        self.on, self.gpu, self.batch_size = device(), gpu(), batch_size
        config, dataset = experiment(), made_images()
        self.shape, self.null = dataset.image_shape, dataset.num_classes
        torch.manual_seed(0)
        self.model = UNet(config.model, self.null, self.shape).eval().requires_grad_(False)
        self.model.to(self.on)
        self.schedule = NoiseSchedule.linear(config.diffusion).to(self.on)
        self.x_t = torch.randn(batch_size, *self.shape, device=self.on)
        self.t = torch.full((batch_size,), 500, device=self.on)
        self.labels = torch.arange(batch_size, device=self.on) % self.null
        self.calls = sizes().calls
        self.ceiling = matrix_ceiling()
        self.flops = flops_per_image(config.model, self.shape, train=False)

    def fast(self, precision: Precision) -> nn.Module:
        """Return the model as the trainer of a study samples from it on a GPU, in its layout."""
        capture = None if self.gpu is None else self.gpu.capture()
        model = copy.deepcopy(self.model).to(memory_format=torch.channels_last)
        return FastDenoiser(model, precision, self.batch_size, capture).of(model)

    def evaluation(self, model: nn.Module, omega: float) -> Callable[[], Tensor]:
        """Return the work of one evaluation, with both branches where there is guidance."""
        inputs = (self.x_t, self.t, self.labels)
        return torch.no_grad()(partial(guided_noise, model, *inputs, omega, self.null))

    def speed(self, make: Callable[[], nn.Module], omega: float) -> tuple[float, float | None]:
        """Return evaluated images a second, guidance counted as two, and the memory's peak."""

        def warm() -> Callable[[], Tensor]:
            work = self.evaluation(make(), omega)
            seconds(work, sizes().warm_up_steps)
            return work

        work, memory = with_peak(warm)
        branches = 1 if omega == 0 else 2
        return branches * self.batch_size / seconds(work, self.calls), memory

    def row(self, what: str, precision: Precision, omega: float, base: float, aim: str) -> Row:
        """Measure the fast way of evaluating."""
        ours, memory = self.speed(partial(self.fast, precision), omega)
        share = ours * self.flops / self.ceiling if self.ceiling else None
        ratio = ours / base
        return Row(
            what=what,
            plain=base,
            ours=ours,
            memory_mib=memory,
            of_ceiling=share,
            aim=aim,
            **judged(ratio, ratio >= 4.8),
        )


def evaluation_rows(bench: Bench, quick: bool) -> Iterator[Row]:
    """Time one evaluation, with and without guidance; if `quick`, in plain fp32 and fast bf16."""
    torch.backends.cudnn.allow_tf32 = True  # PyTorch's default
    base, memory = bench.speed(lambda: bench.model, 0.0)
    yield Row(
        what=f"plain eager fp32, batch {bench.batch_size}",
        plain=base,
        ours=base,
        ratio=1.0,
        memory_mib=memory,
        of_ceiling=base * bench.flops / bench.ceiling if bench.ceiling else None,
    )
    ways: list[tuple[str, Precision, str]] = [
        ("fast bf16 (default)", "bf16", aims.EVALUATION.text),
        ("fast fp32", "fp32", ""),
    ]
    for way, precision, aim in ways[: 1 if quick else None]:
        for omega in (0.0, 1.0):
            what = f"{way}, omega {omega:g}"
            if bench.gpu is None:  # compiling takes minutes on a CPU, and nothing there uses it
                yield Row(what=what, plain=base, aim=aim)
            else:
                yield bench.row(what, precision, omega, base, aim)


def sampler_rows(bench: Bench, num_steps: int) -> Iterator[Row]:
    """Time whole images by guided DDIM: evaluations, updates and noise, and nothing else."""
    config = SamplingConfig(num_steps=num_steps, batch_size=bench.batch_size)

    def draw(model: nn.Module) -> Tensor:
        rng = torch.Generator(bench.on).manual_seed(0)
        return sample(
            model, bench.schedule, config, bench.shape, bench.labels, 1.0, bench.null, rng
        )

    models = [bench.model, bench.model if bench.gpu is None else bench.fast("bf16")]
    speeds = []
    for model in models:
        draw(model)
        speeds.append(bench.batch_size / seconds(partial(draw, model), 1))
    ours = None if bench.gpu is None else speeds[1]
    ratio = None if ours is None else ours / speeds[0]
    yield Row(what=f"images by DDIM-{num_steps}, omega 1", plain=speeds[0], ours=ours, ratio=ratio)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--batch-size", type=int, default=sizes().sampling_batch_size, metavar="N")
    add("--quick", action="store_true", help="the rows that have an aim alone")
    add("--out", type=Path, metavar="FILE", help="JSON (results/sampling.json)")
    args = parser.parse_args()
    bench = Bench(args.batch_size)
    rows = evaluation_rows(bench, args.quick)
    if not args.quick:
        rows = itertools.chain(rows, sampler_rows(bench, 2 if bench.gpu is None else 50))
    facts = {"flops_per_evaluation": bench.flops, "matrix_ceiling_flops": bench.ceiling}
    report("sampling", rows, facts, args.out)


if __name__ == "__main__":
    main()
