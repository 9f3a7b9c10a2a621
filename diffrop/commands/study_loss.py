"""Compare the forms of the contrastive loss with one another and with none: Table 5."""

from diffrop.analysis.report import render
from diffrop.console.commands import SEARCH_SPACES, StudyCommand
from diffrop.yaml_text import load_yaml

SPACE = SEARCH_SPACES / "loss.yaml"
FORMS = load_yaml(SPACE)["parameters"]["contrastive.form"]["choices"]
"""All that the space lists: a form that is added there is tried, too."""
TAU_0 = 3.0


COMMAND = StudyCommand(
    name="loss",
    description="Train every form of the contrastive loss, and none, to the end at one strength: "
    "Table 5. Without options: five trials on scikit-learn's digits, made long-tailed, in under "
    "five minutes on two cores. --confirm 4 --seeds 3 repeats all of them with fresh seeds, "
    "paired by seed; more --trials also search the strength.",
    space=SPACE,
    pages=render,
    settings={
        "scheduler": "none",
        "num_trials": 1 + len(FORMS),
        "points": tuple({"contrastive.form": form, "contrastive.tau_0": TAU_0} for form in FORMS),
    },
)

parser, main = COMMAND.parser, COMMAND.main
