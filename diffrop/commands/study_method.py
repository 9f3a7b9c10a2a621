"""Ablate what the paper leaves open: space of the distance, noise, timesteps, margin, gradient."""

from diffrop.analysis.report import render
from diffrop.console.commands import SEARCH_SPACES, StudyCommand

SPACE = SEARCH_SPACES / "ablation.yaml"

COMMAND = StudyCommand(
    name="method",
    description="Search the space of the distance, the noise and the timesteps of a pair, the "
    "hinge's margin and whose gradient counts, on top of any method (--preset). Without options: "
    "four trials on scikit-learn's digits, made long-tailed, and fresh seeds of the best, in five "
    "minutes on two cores.",
    space=SPACE,
    pages=render,
)

parser, main = COMMAND.parser, COMMAND.main
