"""What samplers make of few evaluations: errors for exact scores, FIDs of trained networks.

Four tables: of exact scores; of DPM-Solver++ on them with other timesteps than its own; of the
fewest evaluations for a FID within 2 % of DDIM-50's, on checkpoints that are trained where they
are missing (minutes to an hour; see `sampling_checkpoints.py`); and of what guidance intervals and
guides earn on them. Each row is written as soon as it is there.

Where the score is exact, the data are mixtures of Gaussians: one for each class of scikit-learn's
digits (its mean image, and the standard deviation that all classes share), and three in the plane.
The network is replaced by the exact posterior mean of the clean image on the published schedule.
The error is the root mean square difference to a solution with thousands of steps at real-valued
times, from the same noise; samples that end at another mode than there weigh most in it.

    OMP_NUM_THREADS=1 python -m benchmarks.sampling_quality
    python -m benchmarks.sampling_quality --tables exact spacings
"""

import argparse
import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.measure import Row, report
from benchmarks.sampling_checkpoints import FOLDER, TRAININGS, provide_images
from benchmarks.sampling_trained import Scorer, evaluation_rows, guidance_rows
from diffrop.config import DataConfig, DiffusionConfig, SamplerKind, SamplingConfig
from diffrop.data import load_dataset
from diffrop.diffusion.sampling import Denoiser, from_uint8, sample
from diffrop.diffusion.schedule import NoiseSchedule, at
from diffrop.diffusion.solvers import (
    CLEAN,
    EDM_RHO,
    SOLVERS,
    FloatArray,
    NoiseLevel,
    evenly_as_edm,
    evenly_in_log_snr,
    noise_levels,
)
from diffrop.samplers import num_evaluations, sampler_name

OF_NETWORKS = ("evaluations", "guidance")
TABLES = ("exact", "spacings", *OF_NETWORKS)
AIM = 0.2
"""Error of DPM-Solver++ at ten evaluations, at most, as a share of DDIM's."""
AIM_AT = 10
COMPARED: tuple[tuple[SamplerKind, int], ...] = tuple(
    [("dpmpp", steps) for steps in (5, 8, 10, 15, 20, 50)]
    + [("heun", steps) for steps in (3, 5, 8, 10, 25)]
)
LEAST_RATIO = 1e-5
"""Noise to signal at which the fine solution goes to the clean image."""


@dataclass(frozen=True)
class Mixture:
    """Gaussians of equal weight and spread."""

    means: Tensor
    """float64 (K, D)."""
    std: float

    @classmethod
    def random(cls, num_modes: int, num_values: int, std: float) -> "Mixture":
        """Return one with means in [-0.6, 0.6]."""
        generator = torch.Generator().manual_seed(0)
        drawn = torch.rand(num_modes, num_values, generator=generator, dtype=torch.float64)
        return cls(1.2 * drawn - 0.6, std)

    @classmethod
    def of_digits(cls) -> "Mixture":
        """Return the classes of scikit-learn's digits: mean images and pooled deviation."""
        images = load_dataset(DataConfig(dataset="digits", imbalance_factor=1.0)).reference
        values = from_uint8(images.images).double().flatten(1)
        means = torch.stack([values[images.labels == c].mean(0) for c in range(10)])
        return cls(means, (values - means[images.labels]).square().mean().sqrt().item())

    def clean(self, x_t: Tensor, alpha: float, sigma: float) -> Tensor:
        """Return E[x_0 given x_t] for x_t (B, D) = alpha x_0 + sigma eps, float64."""
        variance = (alpha * self.std) ** 2 + sigma**2
        far = x_t.unsqueeze(1) - alpha * self.means
        weights = (-far.square().sum(2) / (2 * variance)).softmax(1).unsqueeze(2)
        return (weights * (self.means + alpha * self.std**2 / variance * far)).sum(1)

    def denoiser(self, schedule: NoiseSchedule) -> Denoiser:
        """Return the noise that a perfect network predicts; labels play no part."""

        def predict(x_t: Tensor, t: Tensor, labels: Tensor) -> Tensor:
            alpha = at(schedule.alpha_bar, t, x_t).sqrt()
            sigma = at(schedule.one_minus_alpha_bar, t, x_t).sqrt()
            level = alpha.flatten()[0].item(), sigma.flatten()[0].item()  # t is the same for all
            x_0 = self.clean(x_t.flatten(1), *level).view_as(x_t)
            return (x_t - alpha * x_0) / sigma

        return predict

    def solution(self, x_t: Tensor, ratio: float, num_steps: int) -> Tensor:
        """Return where the probability flow takes x_t (B, D) from noise `ratio` times the signal.

        Heun's method with EDM's spacing at real-valued times.
        """
        first, last = (end ** (1 / EDM_RHO) for end in (ratio, LEAST_RATIO))
        ratios = np.linspace(first, last, num_steps) ** EDM_RHO
        levels = [level_of(value) for value in ratios.tolist()]

        def predict(x: Tensor, now: NoiseLevel) -> Tensor:
            return self.clean(x, now.alpha, now.sigma)

        return SOLVERS["heun"].solve(x_t, [*levels, CLEAN], predict, x_t.clone)


def level_of(ratio: float) -> NoiseLevel:
    """Return the level of the variance-preserving process with this noise to signal, any t."""
    alpha = 1 / math.sqrt(1 + ratio**2)
    return NoiseLevel(t=0, alpha=alpha, sigma=ratio * alpha, beta=0.0)


class ExactScore:
    """Errors of samplers on one mixture and one batch of noise."""

    def __init__(self, mixture: Mixture, num_images: int, fine_steps: int = 4000) -> None:
        self.mixture, self.num_images = mixture, num_images
        self.schedule = NoiseSchedule.linear(DiffusionConfig(), torch.float64)
        self.shape = (mixture.means.shape[1],)
        self.noise = torch.randn(num_images, *self.shape, generator=self.generator()).double()
        last = self.schedule.one_minus_alpha_bar[-1] / self.schedule.alpha_bar[-1]
        self.fine = mixture.solution(self.noise, last.sqrt().item(), fine_steps)

    def generator(self) -> torch.Generator:
        """Return that of the noise from which all solutions start."""
        return torch.Generator().manual_seed(0)

    def error(self, config: SamplingConfig) -> float:
        """Return the root mean square error of a sampler's values."""
        labels = torch.zeros(self.num_images, dtype=torch.int64)
        denoiser = self.mixture.denoiser(self.schedule)
        found = sample(
            denoiser, self.schedule, config, self.shape, labels, 0.0, 1, self.generator()
        )
        return (found - self.fine).square().mean().sqrt().item()

    def error_at(self, kind: SamplerKind, timesteps: Sequence[int]) -> float:
        """Return that of a sampler which evaluates the network at these timesteps."""

        def predict(x_t: Tensor, now: NoiseLevel) -> Tensor:
            return self.mixture.clean(x_t, now.alpha, now.sigma)

        levels = noise_levels(self.schedule, timesteps)
        found = SOLVERS[kind].solve(self.noise, levels, predict, self.noise.clone)
        return (found - self.fine).square().mean().sqrt().item()


Timesteps = Callable[[NoiseSchedule, int], list[int]]


def log_snr_down_to(last: int) -> Timesteps:
    """Return timesteps from T - 1 to `last`, evenly in log(alpha / sigma)."""

    def timesteps(schedule: NoiseSchedule, num_steps: int) -> list[int]:
        ratio = schedule.one_minus_alpha_bar.double() / schedule.alpha_bar.double()
        measure = ratio.log().numpy()
        wanted = np.linspace(measure[-1], measure[last], num_steps)
        return _whole(np.interp(wanted, measure, np.arange(len(measure))))

    return timesteps


def root_of_t(power: float) -> Timesteps:
    """Return timesteps from T - 1, evenly in t^(1 / power); the next would be 0."""

    def timesteps(schedule: NoiseSchedule, num_steps: int) -> list[int]:
        first = (schedule.num_timesteps - 1) ** (1 / power)
        wanted = np.linspace(first, 0, num_steps + 1)[:-1] ** power
        return _whole(wanted)

    return timesteps


def _whole(wanted: FloatArray) -> list[int]:
    return [round(place) for place in wanted.tolist()]


SPACINGS: Mapping[str, Timesteps] = {
    "even in log-SNR (dpmpp's)": evenly_in_log_snr,
    **{f"even in log-SNR, the last at t = {last}": log_snr_down_to(last) for last in (5, 10, 20)},
    "even in t^(1/1.5)": root_of_t(1.5),
    "even in t^(1/2)": root_of_t(2),
    "even in t": root_of_t(1),
    "EDM's, rho = 7": evenly_as_edm,
}
"""Timesteps with which DPM-Solver++ is tried; each list is followed by the clean image."""


def rows(name: str, score: ExactScore) -> Iterator[Row]:
    """Compare each sampler with DDIM at as many evaluations; `name` is the mixture's."""
    steps = score.schedule.num_timesteps
    for kind, num_steps in COMPARED:
        config = SamplingConfig(sampler=kind, num_steps=num_steps, clip=False)
        count = num_evaluations(config, steps)
        ours = score.error(config)
        ddim = score.error(SamplingConfig(sampler="ddim", num_steps=count, clip=False))
        judged = kind == "dpmpp" and count == AIM_AT
        yield Row(
            what=f"{name}, {sampler_name(config, steps)}, {count} evaluations",
            plain=ddim,
            ours=ours,
            unit="error",
            ratio=ours / ddim,
            aim=f"<= {AIM} of DDIM's" if judged else "",
            reached=ours <= AIM * ddim if judged else None,
        )


@functools.cache
def exact_scores(num_images: int) -> Mapping[str, ExactScore]:
    """Return those of all mixtures, by name."""
    mixtures = {"digits": Mixture.of_digits(), "plane": Mixture.random(3, 2, std=0.15)}
    return {name: ExactScore(mixture, num_images) for name, mixture in mixtures.items()}


def spacing_rows(name: str, score: ExactScore) -> Iterator[Row]:
    """Compare DPM-Solver++ at each spacing with DDIM; `name` is the mixture's."""
    ddim = score.error(SamplingConfig(sampler="ddim", num_steps=AIM_AT, clip=False))
    for spacing, timesteps in SPACINGS.items():
        ours = score.error_at("dpmpp", timesteps(score.schedule, AIM_AT))
        what = f"{name}, dpmpp, {AIM_AT} evaluations {spacing}"
        yield Row(what=what, plain=ddim, ours=ours, unit="error", ratio=ours / ddim)


def chosen_rows(args: argparse.Namespace) -> Iterator[Row]:
    """Make the rows of the tables that are asked for, one after another."""
    for table, rows_of in (("exact", rows), ("spacings", spacing_rows)):
        if table in args.tables:
            for name, score in exact_scores(args.num_images).items():
                yield from rows_of(name, score)
    for name in trainings_of(args):
        scorer = Scorer.of(name, args.folder, args.data, args.num_samples)
        if "evaluations" in args.tables:
            yield from evaluation_rows(scorer, args.omega)
        if "guidance" in args.tables:
            yield from guidance_rows(scorer)


def trainings_of(args: argparse.Namespace) -> list[str]:
    """Return the trainings whose networks a table needs."""
    return list(args.trainings) if set(args.tables) & set(OF_NETWORKS) else []


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--tables", nargs="+", choices=TABLES, default=list(TABLES), metavar="TABLE")
    add("--num-images", type=int, default=256, metavar="N", help="of a mixture (%(default)s)")
    add("--trainings", nargs="+", choices=TRAININGS, default=list(TRAININGS), metavar="NAME")
    add("--num-samples", type=int, default=1_000, metavar="N", help="of a network (%(default)s)")
    add("--omega", type=float, default=0.0, help="of the table of evaluations (%(default)s)")
    add("--folder", type=Path, default=FOLDER, help="keeps checkpoints and scores (%(default)s)")
    add("--data", type=Path, default=Path("data"), help="of torchvision's sets (%(default)s)")
    add("--out", type=Path, metavar="FILE", help="JSON")
    args = parser.parse_args()
    try:
        for name in trainings_of(args):
            provide_images(name, args.data)
    except ValueError as error:
        parser.error(str(error))
    facts = {"plain": "DDIM at as many evaluations, or plain guidance"}
    counts = {"num_images": args.num_images, "num_samples": args.num_samples}
    report("sampling_quality", chosen_rows(args), {**facts, **counts}, args.out, on_a_cpu="")


if __name__ == "__main__":
    main()
