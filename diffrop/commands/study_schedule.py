"""Compare how tau(t) falls with the timestep, constant tau among them: Figure 4a."""

from diffrop.analysis.report import render
from diffrop.console.commands import SEARCH_SPACES, StudyCommand

SPACE = SEARCH_SPACES / "tau_schedule.yaml"
SCHEDULES = ("exponential", "constant", "linear", "cosine")
TAU_0 = 3.0


COMMAND = StudyCommand(
    name="schedule",
    description="Train the exponential form with every schedule of tau(t) to the end at one "
    "tau_0, and without the loss: Figure 4a. Without options: five trials on scikit-learn's "
    "digits, made long-tailed, in under five minutes on two cores. --confirm 4 --seeds 3 repeats "
    "all of them with fresh seeds, paired by seed; more --trials also search tau_0.",
    space=SPACE,
    pages=render,
    settings={
        "scheduler": "none",
        "num_trials": 1 + len(SCHEDULES),
        "points": tuple(
            {"contrastive.tau_schedule": name, "contrastive.tau_0": TAU_0} for name in SCHEDULES
        ),
        "contrastive.form": "exponential",
    },
)

parser, main = COMMAND.parser, COMMAND.main
