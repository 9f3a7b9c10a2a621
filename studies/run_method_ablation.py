"""Ablate what the paper leaves open: space of the distance, noise, timesteps, margin, gradient."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # before others called `analysis`

from diffrop.analysis.report.render import render_study, study_answer
from diffrop.console.commands import StudyCommand

SPACE = Path(__file__).resolve().parents[1] / "search_spaces" / "ablation.yaml"

COMMAND = StudyCommand(
    script="run_method_ablation",
    description="Search the space of the distance, the noise and the timesteps of a pair, the "
    "hinge's margin and whose gradient counts, on top of any method (--preset). Without options: "
    "nine trials on scikit-learn's digits, made long-tailed, in under five minutes on two cores.",
    space=SPACE,
    render=render_study,
    answer=study_answer,
)

if __name__ == "__main__":
    sys.exit(COMMAND.main(sys.argv[1:], dict(os.environ)))
