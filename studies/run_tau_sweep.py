"""Search form, tau_0, decay temperature and margin of the contrastive loss: the main study."""

import os
import sys
from pathlib import Path

from analysis.figures import write_figures
from analysis.report import write_report
from diffrop.cli import StudyCommand

SPACE = Path(__file__).resolve().parents[1] / "search_spaces" / "tau.yaml"


def render(study: Path) -> list[Path]:
    """Draw the study's figures and its report."""
    return [*write_figures(study), write_report(study)]


COMMAND = StudyCommand(
    script="run_tau_sweep",
    description="Search the form, the strength tau_0, the decay temperature and the margin of "
    "DiffROP's contrastive loss. Without options: nine trials on scikit-learn's digits, made "
    "long-tailed, in under five minutes on two cores.",
    space=SPACE,
    render=render,
)

if __name__ == "__main__":
    sys.exit(COMMAND.main(sys.argv[1:], dict(os.environ)))
