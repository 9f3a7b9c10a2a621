"""Sweep the margin of the hinge in each space of the distance (Eq. 15)."""

from diffrop.analysis.report import render
from diffrop.console.commands import SEARCH_SPACES, StudyCommand

SPACE = SEARCH_SPACES / "margin.yaml"
MARGINS = {"mu": (0.995, 1.01, 1.05), "x0": (0.8, 1.2), "eps": (0.8, 1.2)}
"""By space: each from hardly ever to nearly always active."""
POINTS = tuple(
    {"contrastive.space": space, "contrastive.margin": margin}
    for space, margins in MARGINS.items()
    for margin in margins
)


COMMAND = StudyCommand(
    name="margin",
    description="Train the hinge with several margins in each space of the distance (mu, x0, "
    "eps), and without the loss. Without options: eight trials on scikit-learn's digits, made "
    "long-tailed, in under five minutes on two cores; --scheduler none runs all of them to their "
    "end. pcl/active_share says how often a margin was active.",
    space=SPACE,
    pages=render,
    settings={
        "num_trials": 1 + len(POINTS),
        "points": POINTS,
        "contrastive.form": "hinge",
    },
)

parser, main = COMMAND.parser, COMMAND.main
