"""Search form, tau_0, decay temperature and margin of the contrastive loss: the main study."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # before others called `analysis`

from diffrop.analysis.report.render import render_study, study_answer
from diffrop.console.commands import StudyCommand

SPACE = Path(__file__).resolve().parents[1] / "search_spaces" / "tau.yaml"

COMMAND = StudyCommand(
    script="run_tau_sweep",
    description="Search the form, the strength tau_0, the decay temperature and the margin of "
    "DiffROP's contrastive loss. Without options: nine trials on scikit-learn's digits, made "
    "long-tailed, in under five minutes on two cores.",
    space=SPACE,
    render=render_study,
    answer=study_answer,
)

if __name__ == "__main__":
    sys.exit(COMMAND.main(sys.argv[1:], dict(os.environ)))
