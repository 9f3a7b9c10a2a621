"""Trade the quality of all classes for that of the rare ones: a Pareto front."""

from diffrop.analysis.report import render
from diffrop.console.commands import SEARCH_SPACES, StudyCommand

SPACE = SEARCH_SPACES / "pareto.yaml"

COMMAND = StudyCommand(
    name="pareto",
    description="Search for the front of fid/all and fid/few: what helps rare classes, and at "
    "what cost. Without options: four trials on scikit-learn's digits, made long-tailed, and "
    "fresh seeds of the best, in five minutes on two cores, by multi-objective TPE. With some "
    "fifty trials and more, --sampler nsga2 is an alternative; --constraint 'fid/many <= baseline "
    "+ 5%' limits what the frequent classes may lose.",
    space=SPACE,
    pages=render,
    settings={"evaluation.objectives": ["fid/all", "fid/few"]},
)

parser, main = COMMAND.parser, COMMAND.main
