"""The ways to sample from a checkpoint: guidance scale, sampler and average of the weights."""

import dataclasses
import itertools
import re
from dataclasses import dataclass
from typing import Any

from diffrop.config import ExperimentConfig, SamplingConfig
from diffrop.schema import require


@dataclass(frozen=True)
class SamplingChoice:
    """One way to sample from a checkpoint."""

    omega: float
    sampling: SamplingConfig

    @property
    def sampler(self) -> str:
        """Sampler, steps and average as they stand beside every score: ddim-10-ema-0.1."""
        length = self.sampling.ema_length
        average = "" if length is None else f"-ema-{length:g}"
        return f"{self.sampling.sampler}-{self.sampling.num_steps}{average}"


def sampling_choices(
    config: ExperimentConfig, num_steps: int | None = None
) -> list[SamplingChoice]:
    """Return the candidates of a checkpoint: omegas in rising order for each sampler and average.

    Args:
        config: `evaluation` names them; what it leaves open is as in `sampling`.
        num_steps: denoising steps at most, None for each sampler's own. The ancestral sampler
            takes all T steps: where that is more, DDIM with so many stands in for it.

    Raises:
        ValueError: a sampler is unknown or has more than T steps, or an average is not kept.
    """
    evaluation, limit = config.evaluation, config.diffusion.num_timesteps
    own = config.sampling
    if own.sampler == "ancestral":
        own = dataclasses.replace(own, num_steps=limit)
    samplers = [_parse_sampler(name, own, limit) for name in evaluation.samplers] or [own]
    lengths = evaluation.ema_lengths or (own.ema_length,)
    kept = config.training.ema_lengths
    for length in lengths:
        allowed = f"each of training.ema_lengths, {list(kept)}, or null"
        require(length is None or length in kept, "evaluation.ema_lengths", length, allowed)
    omegas = sorted(evaluation.guidance_scales)
    found = [
        SamplingChoice(omega, dataclasses.replace(_capped(sampler, num_steps), ema_length=length))
        for sampler, length, omega in itertools.product(samplers, lengths, omegas)
    ]
    return list(dict.fromkeys(found))


def _parse_sampler(name: str, own: SamplingConfig, limit: int) -> SamplingConfig:
    if name == "ancestral":
        return dataclasses.replace(own, sampler="ancestral", num_steps=limit)
    found = re.fullmatch(r"ddim-(\d+)", name)
    fits = found is not None and 1 <= int(found[1]) <= limit
    require(fits, "evaluation.samplers", name, f"ancestral, or ddim-STEPS with 1 to {limit} steps")
    assert found is not None
    return dataclasses.replace(own, sampler="ddim", num_steps=int(found[1]))


def _capped(sampling: SamplingConfig, num_steps: int | None) -> SamplingConfig:
    if num_steps is None or sampling.num_steps <= num_steps:
        return sampling
    return dataclasses.replace(sampling, sampler="ddim", num_steps=num_steps)


def fixed_choice(config: ExperimentConfig, omega: float, sampler: str) -> ExperimentConfig:
    """Return a configuration whose sampling is one choice alone.

    Args:
        config: of the trial.
        omega: guidance scale.
        sampler: as it stands beside scores: ancestral-1000, ddim-8, ddim-8-ema-0.1.

    Raises:
        ValueError: the sampler cannot be read, or the average is not kept.
    """
    name, _, length = sampler.partition("-ema-")
    kind, _, steps = name.partition("-")
    require(steps.isdigit(), "sampler", sampler, "NAME-STEPS, with -ema-LENGTH behind it or not")
    kept = {f"{known:g}": known for known in config.training.ema_lengths}
    require(not length or length in kept, "average", sampler, f"of {', '.join(kept) or 'none'}")
    changes: dict[str, Any] = {
        "evaluation.guidance_scales": [omega],
        "evaluation.samplers": [],
        "evaluation.ema_lengths": [],
        "sampling.sampler": kind,
        "sampling.ema_length": kept[length] if length else None,
    }
    if kind != "ancestral":  # that one takes all steps, whatever the number here
        changes["sampling.num_steps"] = int(steps)
    return config.with_values(changes)
