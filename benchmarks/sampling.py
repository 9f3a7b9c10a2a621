"""Time the sampler's denoising evaluations, as the studies run them, beside plain float32.

An evaluation with guidance counts as two. All ratios are of this run.

    python -m benchmarks.sampling
"""

import argparse
import copy
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.measure import (
    Row,
    device,
    experiment,
    flops_per_image,
    judged,
    made_images,
    matrix_ceiling,
    report,
    seconds,
    with_peak,
)
from diffrop.config import Precision, SamplingConfig
from diffrop.cuda_graph import CudaCapture
from diffrop.diffusion.denoiser import FastDenoiser
from diffrop.diffusion.sampling import guided_noise, sample
from diffrop.diffusion.schedule import NoiseSchedule
from diffrop.models.unet import UNet

AIM = ">= 4.8 times fp32"


class Bench:
    """A network and the images that it evaluates."""

    def __init__(self, batch_size: int) -> None:
        on = device()
        self.on, self.on_gpu, self.batch_size = on, on.type == "cuda", batch_size
        config, dataset = experiment(self.on_gpu), made_images()
        self.shape, self.null = dataset.image_shape, dataset.num_classes
        torch.manual_seed(0)
        self.model = UNet(config.model, self.null, self.shape).to(on).eval().requires_grad_(False)
        self.schedule = NoiseSchedule.linear(config.diffusion).to(on)
        self.x_t = torch.randn(batch_size, *self.shape, device=on)
        self.t = torch.full((batch_size,), 500, device=on)
        self.labels = torch.arange(batch_size, device=on) % self.null
        self.calls = 30 if self.on_gpu else 2
        self.ceiling = matrix_ceiling()
        self.flops = flops_per_image(config.model, self.shape, train=False)

    def fast(self, precision: Precision) -> nn.Module:
        """Return the model as the trainer of a study samples from it on a GPU, in its layout."""
        capture = CudaCapture(self.on) if self.on_gpu else None
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
            seconds(work, 5 if self.on_gpu else 1)
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


def evaluation_rows(bench: Bench) -> list[Row]:
    """Time one evaluation, with and without guidance."""
    torch.backends.cudnn.allow_tf32 = True  # PyTorch's default
    base, memory = bench.speed(lambda: bench.model, 0.0)
    size = bench.batch_size
    rows = [
        Row(
            what=f"plain eager fp32, batch {size}",
            plain=base,
            ours=base,
            ratio=1.0,
            memory_mib=memory,
            of_ceiling=base * bench.flops / bench.ceiling if bench.ceiling else None,
        )
    ]
    if not bench.on_gpu:  # compiling takes minutes on a CPU, and nothing there uses it
        missing = (
            f"{what}, omega {omega:g}"
            for what in ("fast fp32", "fast bf16 (default)")
            for omega in (0, 1)
        )
        return rows + [
            Row(what=what, plain=base, aim=AIM if "bf16" in what else "") for what in missing
        ]
    ways: list[tuple[str, Precision]] = [("fast fp32", "fp32"), ("fast bf16 (default)", "bf16")]
    for what, precision in ways:
        aim = AIM if precision == "bf16" else ""
        rows += [bench.row(f"{what}, omega {w:g}", precision, w, base, aim) for w in (0.0, 1.0)]
    return rows


def sampler_row(bench: Bench, num_steps: int) -> Row:
    """Time whole images by guided DDIM: evaluations, updates and noise, and nothing else."""
    config = SamplingConfig(num_steps=num_steps, batch_size=bench.batch_size)

    def draw(model: nn.Module) -> Tensor:
        rng = torch.Generator(bench.on).manual_seed(0)
        return sample(
            model, bench.schedule, config, bench.shape, bench.labels, 1.0, bench.null, rng
        )

    models = [bench.model, bench.fast("bf16") if bench.on_gpu else bench.model]
    speeds = []
    for model in models:
        draw(model)
        speeds.append(bench.batch_size / seconds(partial(draw, model), 1))
    ours = speeds[1] if bench.on_gpu else None
    ratio = None if ours is None else ours / speeds[0]
    return Row(
        what=f"images by DDIM-{num_steps}, omega 1", plain=speeds[0], ours=ours, ratio=ratio
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    on_gpu = torch.cuda.is_available()
    default = 512 if on_gpu else 16
    parser.add_argument("--batch-size", type=int, default=default, metavar="N")
    parser.add_argument("--out", type=Path, metavar="FILE", help="JSON (results/sampling.json)")
    args = parser.parse_args()
    bench = Bench(args.batch_size)
    rows = [*evaluation_rows(bench), sampler_row(bench, 50 if on_gpu else 2)]
    facts = {"flops_per_evaluation": bench.flops, "matrix_ceiling_flops": bench.ceiling}
    report("sampling", rows, facts, args.out)


if __name__ == "__main__":
    main()
