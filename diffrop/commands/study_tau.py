"""Search form, tau_0, decay temperature and margin of the contrastive loss: the main study."""

from diffrop.analysis.report import render
from diffrop.console.commands import SEARCH_SPACES, StudyCommand

SPACE = SEARCH_SPACES / "tau.yaml"

COMMAND = StudyCommand(
    name="tau",
    description="Search the form, the strength tau_0, the decay temperature and the margin of "
    "DiffROP's contrastive loss. Without options: four trials on scikit-learn's digits, made "
    "long-tailed, and fresh seeds of the best, in five minutes on two cores.",
    space=SPACE,
    pages=render,
)

parser, main = COMMAND.parser, COMMAND.main
