"""How a command draws from a checkpoint: as asked, or as the checkpoint was scored."""

import argparse
from dataclasses import dataclass
from pathlib import Path

from diffrop.console.options import add_sampler
from diffrop.console.typed import at_least_0
from diffrop.record.trial_folder import score_of_checkpoint


@dataclass(frozen=True)
class Drawing:
    """How images are drawn."""

    omega: float
    sampler: str | None
    """As it stands beside scores; None is that of the checkpoint's study."""
    words: str
    """What was taken from the checkpoint's score, in a sentence; "" for nothing."""


def add_drawing(container: argparse._ActionsContainer) -> None:
    """Add --omega and --sampler, whose defaults are those of the checkpoint's score."""
    container.add_argument(
        "--omega",
        type=at_least_0,
        metavar="X",
        help="guidance scale, 0 for no guidance (that of the checkpoint's score, else 0)",
    )
    add_sampler(container)


def drawing_of(checkpoint: Path, omega: float | None, sampler: str | None) -> Drawing:
    """Return how to draw; what was not asked for is taken from the score beside the checkpoint.

    A study searches omega, sampler, average and guide on each checkpoint, so that its score is of
    these; a checkpoint outside a trial's folder has no score.

    Args:
        checkpoint: a file.
        omega: as asked, None if it was not.
        sampler: likewise.

    Raises:
        NewerFormatError: a later version wrote the score.
    """
    card = None if None not in (omega, sampler) else score_of_checkpoint(checkpoint)
    if card is None:
        return Drawing(0.0 if omega is None else omega, sampler, "")
    taken = [f"omega {card.omega:g}"] if omega is None else []
    taken += [card.sampler] if sampler is None else []
    return Drawing(
        card.omega if omega is None else omega,
        card.sampler if sampler is None else sampler,
        f"Drawn with {' and '.join(taken)}, as the checkpoint was scored.",
    )
