"""How a command draws from a checkpoint: as asked, or as the checkpoint was scored."""

import argparse
from dataclasses import dataclass
from pathlib import Path

from diffrop.console.typed import at_least_0
from diffrop.record.trial_folder import score_of_checkpoint


@dataclass(frozen=True)
class Drawing:
    """How images are drawn."""

    omega: float
    sampler: str | None
    """As it stands beside scores; None is that of the checkpoint's study."""
    words: str
    """Where what was not asked for comes from, in a sentence; "" if all was asked for."""


def add_drawing(container: argparse._ActionsContainer) -> None:
    """Add --omega and --sampler, whose defaults are those of the checkpoint's score."""
    container.add_argument(
        "--omega",
        type=at_least_0,
        metavar="X",
        help="guidance scale, 0 for no guidance (that of the checkpoint's score, else 0)",
    )
    container.add_argument(
        "--sampler",
        metavar="NAME",
        help="as it stands beside scores, such as ddim-8-guided-0.2-0.7-ema-0.1 (that of the "
        "checkpoint's score, else of its study)",
    )


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
    if omega is not None and sampler is not None:
        return Drawing(omega, sampler, "")
    card = score_of_checkpoint(checkpoint)
    if card is None:
        words = f"Drawn with omega 0: there is no score beside {checkpoint}."
        return Drawing(0.0, sampler, words) if omega is None else Drawing(omega, sampler, "")
    if omega is None and sampler is None:
        words = (
            f"Drawn with omega {card.omega:g} and {card.sampler}, as the checkpoint was scored."
        )
    elif omega is None:
        words = f"Drawn with omega {card.omega:g}, which was chosen for {card.sampler}."
    else:
        words = f"Drawn with {card.sampler}, as the checkpoint was scored."
    return Drawing(
        card.omega if omega is None else omega,
        card.sampler if sampler is None else sampler,
        words,
    )
