"""The ways to sample from a checkpoint: guidance scale, sampler and average of the weights."""

import dataclasses
import itertools
from dataclasses import dataclass
from typing import Any

from diffrop.config import ExperimentConfig, SamplingConfig
from diffrop.samplers import capped, named_sampler, num_evaluations, num_steps, sampler_name
from diffrop.schema import require


@dataclass(frozen=True)
class SamplingChoice:
    """One way to sample from a checkpoint."""

    omega: float
    sampling: SamplingConfig
    """With the number of steps that are taken."""

    @property
    def sampler(self) -> str:
        """Sampler, steps, clipping and average as they stand beside every score."""
        return sampler_name(self.sampling, self.sampling.num_steps)

    @property
    def evaluations(self) -> int:
        """Evaluations of the network for an image (NFE)."""
        return num_evaluations(self.sampling, self.sampling.num_steps, self.omega)


def sampling_choices(
    config: ExperimentConfig, max_evaluations: int | None = None
) -> list[SamplingChoice]:
    """Return the candidates of a checkpoint: omegas in rising order for each sampler and average.

    Args:
        config: `evaluation` names them; what it leaves open is as in `sampling`.
        max_evaluations: of the network for an image without guidance, None for each sampler's
            own; see `diffrop.samplers.capped`.

    Raises:
        ValueError: a sampler is unknown or has more than T steps, or an average is not kept.
    """
    evaluation, limit = config.evaluation, config.diffusion.num_timesteps
    own = dataclasses.replace(config.sampling, num_steps=num_steps(config.sampling, limit))
    samplers = [
        named_sampler(name, own, limit, field="evaluation.samplers")
        for name in evaluation.samplers
    ] or [own]
    lengths = evaluation.ema_lengths or (own.ema_length,)
    kept = config.training.ema_lengths
    for length in lengths:
        allowed = f"each of training.ema_lengths, {list(kept)}, or null"
        require(length is None or length in kept, "evaluation.ema_lengths", length, allowed)
    omegas = sorted(evaluation.guidance_scales)
    samplers = [capped(sampler, limit, max_evaluations) for sampler in samplers]
    found = [
        SamplingChoice(omega, dataclasses.replace(sampler, ema_length=length))
        for sampler, length, omega in itertools.product(samplers, lengths, omegas)
    ]
    return list(dict.fromkeys(found))


def fixed_choice(config: ExperimentConfig, omega: float, sampler: str) -> ExperimentConfig:
    """Return a configuration whose sampling is one choice alone.

    Args:
        config: of the trial.
        omega: guidance scale.
        sampler: as it stands beside scores: ancestral-1000, ddim-8, ddim-8-ema-0.1.

    Raises:
        ValueError: the sampler cannot be read, or the average is not kept.
    """
    changes: dict[str, Any] = {
        "evaluation.guidance_scales": [omega],
        "evaluation.samplers": [],
        "evaluation.ema_lengths": [],
    }
    return with_sampler(config.with_values(changes), sampler)


def with_sampler(config: ExperimentConfig, sampler: str) -> ExperimentConfig:
    """Return a configuration with the sampler of a name, such as ddim-8-ema-0.1.

    Raises:
        ValueError: the sampler cannot be read, or the average is not kept.
    """
    lengths, limit = config.training.ema_lengths, config.diffusion.num_timesteps
    named = named_sampler(sampler, config.sampling, limit, lengths)
    return dataclasses.replace(config, sampling=named)
