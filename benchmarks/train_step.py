"""Time a training step: the studies' own trainer, plain PyTorch, and what each loss adds.

A step is forward, backward, clip, Adam and weight average, with the data on the device. The plain
one is written out here: eager float32 of the same network with PyTorch's defaults. All ratios are
of this run. `--agreement` trains both ways from several seeds and compares where they end.

    python -m benchmarks.train_step
"""

import argparse
import copy
import dataclasses
import itertools
import statistics
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks import aims
from benchmarks.gpu import device, gpu
from benchmarks.measure import (
    Row,
    alternating,
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
from diffrop.config import ExperimentConfig
from diffrop.data import Dataset, load_dataset
from diffrop.diffusion.sampling import from_uint8
from diffrop.diffusion.schedule import NoiseSchedule
from diffrop.models.unet import UNet
from diffrop.training.captured import CapturedSteps
from diffrop.training.trainer import Trainer

FORMS = ("negative_l2", "hinge", "reciprocal", "exponential")
LAST_STEPS = 500
"""The number of last steps of a training over which its final loss is a mean."""


class PlainTrainer:
    """The step in its simplest form: contiguous memory, and a kernel for each operation."""

    def __init__(self, config: ExperimentConfig, dataset: Dataset, on: torch.device) -> None:
        torch.manual_seed(config.training.seed)
        self.batch_size = config.training.batch_size
        self.clip = config.training.gradient_clip_norm
        self.model = UNet(config.model, dataset.num_classes, dataset.image_shape).to(on)
        self.average = copy.deepcopy(self.model).requires_grad_(False)
        self.optimizer = torch.optim.Adam(self.model.parameters(), config.training.learning_rate)
        self.schedule = NoiseSchedule.linear(config.diffusion).to(on)
        self.images = dataset.train.images.to(on)
        self.labels = dataset.train.labels.to(on)
        self.null_label = dataset.num_classes

    def step(self) -> torch.Tensor:
        """Train on one batch; return the loss."""
        torch.backends.cudnn.allow_tf32 = True  # PyTorch's default, which a trainer may turn off
        on, size = self.images.device, self.batch_size
        chosen = torch.randint(len(self.images), (size,), device=on)
        x_0 = from_uint8(self.images[chosen])
        x_0 = torch.where(torch.rand(size, 1, 1, 1, device=on) < 0.5, x_0.flip(-1), x_0)
        t = torch.randint(self.schedule.num_timesteps, (size,), device=on)
        eps = torch.randn_like(x_0)
        dropped = torch.rand(size, device=on) < 0.1
        labels = self.labels[chosen].masked_fill(dropped, self.null_label)
        found = self.model(self.schedule.q_sample(x_0, t, eps), t, labels)
        loss = nn.functional.mse_loss(found, eps)
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
        self.optimizer.step()
        with torch.no_grad():
            for average, weight in zip(
                self.average.parameters(), self.model.parameters(), strict=True
            ):
                average.lerp_(weight, 1e-4)
        return loss.detach()


class UnrecordedTrainer(Trainer):
    """The trainer without CUDA graphs, to measure what they gain."""

    def _start_fast(self) -> None:
        super()._start_fast()
        self._steps = CapturedSteps(None, self._state)


class Bench:
    """The benchmark's settings, and the trainers made for it."""

    def __init__(self) -> None:
        self.on, self.on_gpu = device(), gpu() is not None
        self.dataset = made_images()
        self.calls, self.rounds = sizes().calls, sizes().rounds
        self.ceiling = matrix_ceiling()
        base = experiment()
        self.batch_size = base.training.batch_size
        self.flops = flops_per_image(base.model, self.dataset.image_shape, train=True)

    def trainer(self, kind: type[Trainer] = Trainer, **values: Any) -> Trainer:
        """Return a trainer that has compiled and recorded what it will."""
        trainer = kind(experiment(**values), self.dataset, self.on)
        self.warm(trainer.step)
        return trainer

    def plain(self) -> PlainTrainer:
        """Return a plain trainer, warm."""
        trainer = PlainTrainer(experiment(), self.dataset, self.on)
        self.warm(trainer.step)
        return trainer

    def warm(self, step: Callable[[], object]) -> None:
        """Take the steps before the first that counts."""
        seconds(step, sizes().warm_up_steps)

    def of_ceiling(self, images_per_s: float) -> float | None:
        """Return the share of the matrix ceiling that a speed is."""
        return images_per_s * self.flops / self.ceiling if self.ceiling else None


def speed_rows(bench: Bench, quick: bool) -> Iterator[Row]:
    """Compare the default and, unless `quick`, every precision and way of running with plain."""
    plain, memory = with_peak(bench.plain)
    base = bench.batch_size / seconds(plain.step, bench.calls)
    yield Row(
        what=f"plain eager fp32, batch {bench.batch_size}",
        plain=base,
        ours=base,
        ratio=1.0,
        memory_mib=memory,
        of_ceiling=bench.of_ceiling(base),
    )
    what = "trainer, the studies' default (on a GPU bf16, compiled, graphs)"
    row = _speed_row(bench, what, plain)
    if bench.on_gpu:
        reached = (row.ratio or 0) >= 5.5 and (row.of_ceiling or 0) >= 0.38
        row = dataclasses.replace(row, reached=reached)
    yield dataclasses.replace(row, aim=aims.STEP.text)
    if quick:
        return
    kinds: list[tuple[str, str, type[Trainer], bool | None]] = [
        ("eager fp32", "fp32", Trainer, False),
        ("eager bf16", "bf16", Trainer, False),
    ]
    if bench.on_gpu:
        kinds += [
            ("eager tf32", "tf32", Trainer, False),
            ("compiled bf16", "bf16", UnrecordedTrainer, None),
            ("default fp32", "fp32", Trainer, None),
            ("default tf32", "tf32", Trainer, None),
        ]
    for what, precision, kind, compiled in kinds:
        values: dict[str, Any] = {"training__precision": precision, "training__compile": compiled}
        yield _speed_row(bench, f"trainer, {what}", plain, kind, **values)


def _speed_row(
    bench: Bench, what: str, plain: PlainTrainer, kind: type[Trainer] = Trainer, **values: Any
) -> Row:
    made = partial(bench.trainer, kind, contrastive__form="none", **values)
    trainer, memory = with_peak(made)

    def step() -> None:
        torch.backends.cudnn.allow_tf32 = trainer.config.training.precision != "fp32"
        trainer.step()

    times = alternating([plain.step, step], bench.calls, bench.rounds)
    base, ours = (bench.batch_size / time_s for time_s in times)
    return Row(
        what=what,
        plain=base,
        ours=ours,
        ratio=ours / base,
        memory_mib=memory,
        of_ceiling=bench.of_ceiling(ours),
    )


def contrastive_rows(bench: Bench, batches: tuple[int, ...]) -> Iterator[Row]:
    """Measure what the contrastive loss adds to a step, its gradient ratio included."""
    for batch in batches:
        size: dict[str, Any] = {"training__batch_size": batch}
        without, least = with_peak(partial(bench.trainer, contrastive__form="none", **size))
        for form in FORMS:
            trainer, most = with_peak(partial(_with_ratio, bench, form, **size))
            times = alternating([without.step, trainer.step], bench.calls, bench.rounds)
            every = trainer.config.training.grad_ratio_every_steps
            measuring = seconds(partial(_step_with_ratio, trainer), bench.rounds)
            plain, ours = times[0], times[1] + (measuring - times[1]) / every
            more = None if most is None or least is None else most - least
            ratio = ours / plain
            reached = ratio <= 1.015 and (more is None or more <= 50)
            yield Row(
                what=f"contrastive, {form}, batch {batch}",
                plain=1e3 * plain,
                ours=1e3 * ours,
                unit="ms",
                memory_mib=more,
                aim=aims.FORMS.text,
                **judged(ratio, reached),
            )


def _with_ratio(bench: Bench, form: str, **values: Any) -> Trainer:
    """Return a trainer that has recorded the step with a gradient ratio too.

    None of the steps that are timed has one: there are fewer of them than lie between two.
    """
    trainer = bench.trainer(contrastive__form=form, **values)
    for _ in range(2):
        _step_with_ratio(trainer)
    return trainer


def _step_with_ratio(trainer: Trainer) -> None:
    trainer.images_seen = 0  # the first step of a training measures its ratio
    trainer.step()


def cbdm_rows(bench: Bench) -> Iterator[Row]:
    """Compare a CBDM step with a DDPM step."""
    (ddpm, _), (cbdm, memory) = (
        with_peak(partial(bench.trainer, contrastive__form="none", objective__loss=loss))
        for loss in ("ddpm", "cbdm")
    )
    plain, ours = alternating([ddpm.step, cbdm.step], bench.calls, bench.rounds)
    yield Row(
        what=f"CBDM, batch {bench.batch_size}",
        plain=1e3 * plain,
        ours=1e3 * ours,
        unit="ms",
        memory_mib=memory,
        aim=aims.CBDM.text,
        **judged(ours / plain, ours / plain <= 1.95),
    )


def agreement_rows(steps: int, seeds: int) -> Iterator[Row]:
    """Train a small network on digits plainly in fp32 and fast in bf16: the loss at the end."""
    base = experiment(model__num_res_blocks=1, training__batch_size=16)
    dataset = load_dataset(base.data)
    values = {
        "model.base_channels": 8,
        "model.channel_multipliers": [1],
        "model.attention_resolutions": [],
        "training.learning_rate": 1e-3,
        "training.warmup_images": 1600,
        "training.num_images": 10**6,
    }
    base = base.with_values(values)
    ends: dict[str, list[float]] = {}
    for way, chosen in (
        ("plain", {"training.precision": "fp32", "training.compile": False}),
        ("fast", {"training.precision": "bf16", "training.compile": None}),
    ):
        ends[way] = []
        for seed in range(seeds):
            config = base.with_values({**chosen, "training.seed": seed})
            trainer = Trainer(config, dataset, device())
            losses = [trainer.step()["loss/ddpm"] for _ in range(steps)]
            ends[way].append(torch.stack(losses[-LAST_STEPS:]).mean().item())
    plain, fast = (statistics.mean(ends[way]) for way in ("plain", "fast"))
    noise = statistics.stdev(ends["plain"])
    same = abs(fast - plain) <= 2 * noise
    yield Row(
        what=f"loss of the last {LAST_STEPS} of {steps} steps, {seeds} seeds (noise {noise:.3g})",
        plain=plain,
        ours=fast,
        unit="",
        aim=aims.AGREEMENT.text,
        ratio=abs(fast - plain) / noise,
        reached=same,
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--out", type=Path, metavar="FILE", help="JSON (results/train_step.json)")
    add("--quick", action="store_true", help="the rows that have an aim, at one batch alone")
    add("--agreement", action="store_true", help="train both ways instead, and compare the loss")
    steps = sizes().agreement_steps
    add("--steps", type=int, default=steps, metavar="N", help=f"of --agreement ({steps})")
    add("--seeds", type=int, default=3, metavar="N", help="of --agreement (3)")
    args = parser.parse_args()
    if args.agreement:
        report("agreement", agreement_rows(args.steps, args.seeds), {}, args.out)
        return
    bench = Bench()
    batches = (bench.batch_size, *(() if args.quick else sizes().larger_batches))
    rows = itertools.chain(
        speed_rows(bench, args.quick), contrastive_rows(bench, batches), cbdm_rows(bench)
    )
    facts = {"flops_per_image": bench.flops, "matrix_ceiling_flops": bench.ceiling}
    report("train_step", rows, facts, args.out)


if __name__ == "__main__":
    main()
