"""The ways to sample from a checkpoint: guidance, its interval and guide, sampler, average."""

import dataclasses
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from diffrop.config import ExperimentConfig, SamplingConfig
from diffrop.diffusion.sampling import num_guided_evaluations
from diffrop.samplers import capped, named_sampler, num_steps, sampler_name

MAX_CHEAPER = 4
"""Where `evaluation.prefer_cheap` is set, so many candidates that are cheaper than the best are
drawn on the full N, at most: the most promising at each cost, and of these the most promising."""


@dataclass(frozen=True)
class SamplingChoice:
    """One way to sample from a checkpoint."""

    omega: float
    sampling: SamplingConfig
    """With the number of steps that are taken."""
    evaluations: int
    """Of the network for an image (NFE), those of guidance included."""

    @property
    def sampler(self) -> str:
        """Sampler, steps, clipping, interval, guide and average, as in `sampler_name`."""
        return sampler_name(self.sampling, self.sampling.num_steps)

    @property
    def coordinates(self) -> Mapping[str, object]:
        """The value of each dimension that changes something; omega 0 has no interval or guide."""
        sampling = self.sampling
        guided = {"interval": sampling.guidance_interval, "guide": sampling.guide}
        return {
            "sampler": (sampling.sampler, sampling.num_steps, sampling.clip),
            "average": sampling.ema_length,
            **(guided if self.omega else {}),
            "omega": self.omega,
        }


def sampling_choices(
    config: ExperimentConfig, max_evaluations: int | None = None
) -> list[SamplingChoice]:
    """Return the candidates of a checkpoint.

    They are omegas in rising order for each sampler, average, guidance interval and guide; omega
    0, where these two change nothing, stands with the first of them alone.

    Args:
        config: `evaluation` names them; what it leaves open is as in `sampling`.
        max_evaluations: of the network for an image without guidance, None for each sampler's
            own; see `diffrop.samplers.capped`.

    Raises:
        ValueError: a sampler is unknown or has more than T steps, or there is no such average.
    """
    evaluation, limit = config.evaluation, config.diffusion.num_timesteps
    own = dataclasses.replace(config.sampling, num_steps=num_steps(config.sampling, limit))
    samplers = [
        named_sampler(name, own, limit, None, field="evaluation.samplers")
        for name in evaluation.samplers
    ] or [own]
    lengths = config.scored_lengths
    for length in lengths:
        config.training.check_average(length, "evaluation.ema_lengths")
    intervals = evaluation.guidance_intervals or (own.guidance_interval,)
    guides = config.scored_guides
    omegas = sorted(evaluation.guidance_scales)
    samplers = [capped(sampler, limit, max_evaluations) for sampler in samplers]
    found = []
    for sampler, length, interval, guide, omega in itertools.product(
        samplers, lengths, intervals, guides, omegas
    ):
        active, by = (interval, guide) if omega else (intervals[0], guides[0])
        sampling = dataclasses.replace(
            sampler, ema_length=length, guidance_interval=active, guide=by
        )
        evaluations = num_guided_evaluations(sampling, config.diffusion, omega)
        found.append(SamplingChoice(omega, sampling, evaluations))
    return list(dict.fromkeys(found))


def fixed_choice(config: ExperimentConfig, omega: float, sampler: str) -> ExperimentConfig:
    """Return a configuration whose sampling is one choice alone.

    Args:
        config: of the trial.
        omega: guidance scale.
        sampler: as it stands beside scores: ancestral-1000, ddim-8-guide-0.25-ema-0.1.

    Raises:
        ValueError: the sampler cannot be read, or there is no such average.
    """
    changes: dict[str, Any] = {
        "evaluation.guidance_scales": [omega],
        "evaluation.samplers": [],
        "evaluation.ema_lengths": [],
        "evaluation.guidance_intervals": [],
        "evaluation.guides": [],
        "evaluation.prefer_cheap": None,
    }
    return with_sampler(config.with_values(changes), sampler)


def with_sampler(config: ExperimentConfig, sampler: str) -> ExperimentConfig:
    """Return a configuration with the sampler of a name, such as ddim-8-ema-0.1.

    Raises:
        ValueError: the sampler cannot be read, or there is no such average.
    """
    training, limit = config.training, config.diffusion.num_timesteps
    others = training.snapshots_per_doubling > 0
    named = named_sampler(sampler, config.sampling, limit, training.ema_lengths, others=others)
    return dataclasses.replace(config, sampling=named)
