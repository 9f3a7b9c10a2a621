"""The sampling level: which omega, sampler and average of the weights serve a checkpoint best.

Successive halving (Jamieson and Talwalkar, 2016) over the candidates: all are scored on few
samples, the better third goes on to three times as many, the last one to the full N. Candidates
are compared on equal N alone, and on the same noise. The first n samples of a larger N are the
very same images, so that a round costs only what it adds.
"""

import dataclasses
import itertools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from diffrop.config import ExperimentConfig, OmegaSearch, SamplingConfig
from diffrop.schema import require
from diffrop.search.objectives import Goal, Scores

REDUCTION = 3
"""One candidate in so many goes on, to so many times the samples."""
SHARE = 0.4
"""Of the grid's samples, at most, where there are four candidates or more."""
LEAST_PER_CLASS = 2
"""Samples of each class in the first round, at least."""


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


@dataclass(frozen=True)
class Round:
    """All remaining candidates on equal N; then some go on."""

    num_samples: int
    num_kept: int
    """Candidates that go on, at most."""


def plan_rounds(
    method: OmegaSearch, num_candidates: int, num_samples: int, num_classes: int
) -> tuple[Round, ...]:
    """Return the rounds of a search; the last is on the full N.

    Halving takes the largest first round with which all samples drawn are at most `SHARE` of the
    grid's; for fewer than four candidates at most 1.6 times the full N. Where N is so small that
    it would have fewer than `LEAST_PER_CLASS` of each class, one round decides; where not even
    that fits, every candidate is scored on the full N.
    """
    whole = (Round(num_samples, 1),)
    if method == "grid" or num_candidates == 1:
        return whole
    budget = max(SHARE * num_candidates, 4 * SHARE) * num_samples
    for reduction in (REDUCTION, num_candidates):
        for per_class in range(num_samples // num_classes, LEAST_PER_CLASS - 1, -1):
            first = per_class * num_classes
            rounds = _halving(num_candidates, first, num_samples, reduction)
            if samples_at_most(rounds, num_candidates) <= budget:
                return rounds
    return whole


def _halving(
    num_candidates: int, first: int, num_samples: int, reduction: int
) -> tuple[Round, ...]:
    rounds: list[Round] = []
    left, count = num_candidates, first
    while left > 1 and count < num_samples:
        left = math.ceil(left / reduction)
        rounds.append(Round(count, left))
        count *= reduction
    return (*rounds, Round(num_samples, 1))


def samples_at_most(rounds: Sequence[Round], num_candidates: int) -> int:
    """Return how many samples the rounds draw in all."""
    total, before, left = 0, 0, num_candidates
    for current in rounds:
        total += left * (current.num_samples - before)
        left = min(current.num_kept, left)
        before = current.num_samples
    return total


@dataclass(frozen=True)
class Found:
    """What a search came to."""

    best: SamplingChoice
    curve: list[dict[str, Any]]
    """Of every round and candidate: {"omega", "sampler", "num_samples", "scores"}."""


def search(
    choices: Sequence[SamplingChoice],
    rounds: Sequence[Round],
    goal: Goal,
    score: Callable[[Sequence[SamplingChoice], int], Sequence[Scores]],
) -> Found:
    """Choose among candidates.

    Args:
        choices: the candidates.
        rounds: as `plan_rounds` gives them.
        goal: what the choice is made by.
        score: returns the scores of some candidates on the first so many samples. It is called
            with rising numbers; who is not asked for at the first call of a number has left.
    """
    left = list(choices)
    curve: list[dict[str, Any]] = []
    for current in rounds:
        num = current.num_samples
        scored = dict(zip(left, score(left, num), strict=True))
        order = _ranked(scored, goal, num)
        curve += [
            {"omega": choice.omega, "sampler": choice.sampler, "num_samples": num,
             "scores": dict(scores)}
            for choice, scores in scored.items()
        ]  # fmt: skip
        left = order[: current.num_kept]
    return Found(left[0], curve)


def _ranked(
    scored: Mapping[SamplingChoice, Scores], goal: Goal, num_samples: int
) -> list[SamplingChoice]:
    """Return the candidates, best first; of equals the smaller omega."""
    choices = sorted(scored, key=lambda choice: choice.omega)
    order = goal.ranking([scored[choice] for choice in choices], num_samples)
    return [choices[place] for place in order]
