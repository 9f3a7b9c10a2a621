"""Samplers as they are named beside scores, and what they cost.

A name says all on which the images depend beside model, omega and noise: the sampler, its steps,
"unclipped" where predicted clean images are not clipped, the interval of guidance where it is not
the whole range, the guide where it is not the null label, and the average of the weights where it
is not the exponential one: ddim-8, ancestral-1000-unclipped, heun-5-guided-0.2-0.7,
ddim-10-guide-0.25-ema-0.1.
"""

import dataclasses
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import cast, get_args

from diffrop.config import WHOLE_RANGE, SamplerKind, SamplingConfig
from diffrop.schema import require

EVALUATIONS: Mapping[SamplerKind, Callable[[int], int]] = {
    "ddim": lambda num_steps: num_steps,
    "dpmpp": lambda num_steps: num_steps,
    "heun": lambda num_steps: 2 * num_steps - 1,
    "ancestral": lambda num_steps: num_steps,
}
"""How often each sampler evaluates the network for an image without guidance, by its steps."""

_KINDS = "|".join(get_args(SamplerKind))
_SHARE = r"[0-9]+(?:\.[0-9]+)?(?:e-[0-9]+)?"
_NAME = re.compile(
    rf"({_KINDS})(?:-([0-9]{{1,6}}))?(-unclipped)?(?:-guided-({_SHARE})-({_SHARE}))?"
    rf"(?:-guide-({_SHARE}))?(?:-ema-(.+))?"
)


def sampler_name(sampling: SamplingConfig, num_timesteps: int) -> str:
    """Return the name of a sampler: ddim-10-unclipped-guided-0.2-0.7-guide-0.25-ema-0.1."""
    clipping = "" if sampling.clip else "-unclipped"
    ends = [repr(end).removesuffix(".0") for end in sampling.guidance_interval]
    guided = "" if sampling.guidance_interval == WHOLE_RANGE else f"-guided-{'-'.join(ends)}"
    guide = "" if sampling.guide is None else f"-guide-{sampling.guide!r}"
    length = sampling.ema_length
    average = "" if length is None else f"-ema-{length:g}"
    steps = num_steps(sampling, num_timesteps)
    return f"{sampling.sampler}-{steps}{clipping}{guided}{guide}{average}"


def named_sampler(
    name: str,
    own: SamplingConfig,
    num_timesteps: int,
    lengths: Sequence[float] | None = (),
    field: str = "sampler",
    *,
    others: bool = False,
) -> SamplingConfig:
    """Return what a name stands for.

    Args:
        name: as `sampler_name` gives it; the ancestral sampler may leave out its steps.
        own: whose other settings are kept.
        num_timesteps: T.
        lengths: of the averages that there are; None where a name says neither average nor
            interval nor guide, because lists of their own do.
        field: which setting this is, for the message.
        others: whether a name may say a length beside those; whether there is such an average is
            for the configuration to say.

    Raises:
        ValueError: the name cannot be read, or there is no such number of steps, interval, guide
            or average.
    """
    known = {f"{length:g}": length for length in lengths or ()}
    found = _NAME.fullmatch(name)
    parts = found.groups() if found else ("", *[None] * 6)
    kind, steps, unclipped, low, high, guide, length = parts
    count = int(steps or (num_timesteps if kind == "ancestral" else 0))
    fits = count == num_timesteps if kind == "ancestral" else 1 <= count <= num_timesteps
    if others and length and re.fullmatch(_SHARE, length):
        known.setdefault(length, float(length))
    fits = fits and (length is None or length in known)
    fits = fits and ((low is None and guide is None) or lengths is not None)
    named = None if lengths is None else [f"{each:g}" for each in lengths]
    require(fits, field, name, _allowed(num_timesteps, named, others))
    return dataclasses.replace(
        own,
        sampler=cast(SamplerKind, kind),
        num_steps=count,
        clip=unclipped is None,
        guidance_interval=(float(low), float(high)) if low and high else WHOLE_RANGE,
        guide=None if guide is None else float(guide),
        ema_length=None if length is None else known[length],
    )


def _allowed(num_timesteps: int, lengths: Collection[str] | None, others: bool) -> str:
    kinds = [f"{kind}-STEPS" for kind in get_args(SamplerKind) if kind != "ancestral"]
    parts = []
    if lengths is not None:
        parts = ["-guided-LOW-HIGH, shares of T", "-guide-SHARE, of the training"]
    more = " or one that snapshots give" if others else ""
    parts += [f"-ema-LENGTH, one of {', '.join(lengths)}{more}"] if lengths else []
    return (
        f"ancestral, or {', '.join(kinds)} with 1 to {num_timesteps} steps; behind it "
        f"{'; '.join(['-unclipped', *parts])}, where that is meant"
    )


def num_steps(sampling: SamplingConfig, num_timesteps: int) -> int:
    """Return the steps of a sampler; the ancestral one takes all T."""
    return num_timesteps if sampling.sampler == "ancestral" else sampling.num_steps


def is_guided(sampling: SamplingConfig, t: int, num_timesteps: int) -> bool:
    """Return whether guidance is active at a timestep of T."""
    low, high = sampling.guidance_interval
    return low <= t / num_timesteps < high


def num_evaluations(sampling: SamplingConfig, num_timesteps: int) -> int:
    """Return how often the network is evaluated for an image without guidance."""
    return EVALUATIONS[sampling.sampler](num_steps(sampling, num_timesteps))


def capped(sampling: SamplingConfig, num_timesteps: int, limit: int | None) -> SamplingConfig:
    """Return a sampler with as many steps as `limit` evaluations without guidance allow.

    The ancestral sampler takes all T steps: where that is more, DDIM stands in for it.
    """
    if limit is None or num_evaluations(sampling, num_timesteps) <= limit:
        return sampling
    kind: SamplerKind = "ddim" if sampling.sampler == "ancestral" else sampling.sampler
    steps = max(count for count in range(1, limit + 1) if EVALUATIONS[kind](count) <= limit)
    return dataclasses.replace(sampling, sampler=kind, num_steps=steps)
