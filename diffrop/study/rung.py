"""A rung: a number of images at which a trial is scored and may be stopped."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Rung:
    """A point of a trial at which it is scored, and may be stopped."""

    images: int
    num_samples: int
    num_steps: int | None
    """Denoising steps, at most, of a sampler; None leaves each its own."""
    final: bool
