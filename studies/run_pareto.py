"""Trade the quality of all classes for that of the rare ones: a Pareto front."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # before others called `analysis`

from diffrop.analysis.report.render import render_study, study_answer
from diffrop.console.commands import StudyCommand

SPACE = Path(__file__).resolve().parents[1] / "search_spaces" / "pareto.yaml"

COMMAND = StudyCommand(
    script="run_pareto",
    description="Search for the front of fid/all and fid/few: what helps rare classes, and at "
    "what cost. Without options: nine trials on scikit-learn's digits, made long-tailed, in under "
    "five minutes on two cores, by multi-objective TPE. With some fifty trials and more, "
    "--sampler nsga2 is an alternative; --constraint 'fid/many <= baseline + 5%' limits "
    "what the frequent classes may lose.",
    space=SPACE,
    render=render_study,
    answer=study_answer,
    settings={"evaluation.objectives": ["fid/all", "fid/few"]},
)

if __name__ == "__main__":
    sys.exit(COMMAND.main(sys.argv[1:], dict(os.environ)))
