"""All figures by name: their titles, and each one's module when it is asked for.

Nothing here imports a figure before `study_figure` is called, so that names and titles can be
listed, and a mistyped name refused, at once.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from diffrop.analysis.data.load import StudyResults

TITLES = {
    "confirmation": "Confirmation with fresh seeds",
    "loss_forms": "Forms of the contrastive loss",
    "tau_schedules": "Time-dependent tau",
    "shot_groups": "FID per shot group",
    "margin_sensitivity": "Sensitivity to the hinge's margin",
    "tau_sensitivity": "Sensitivity to tau_0 and to the decay temperature",
    "guidance_curve": "Guidance: scores against omega",
    "evaluations": "What fewer evaluations of the network cost",
    "pareto_front": "Trade-off between scores",
    "class_fid": "FID of each class",
    "parameter_importance": "Which parameters mattered",
    "gradient_ratio": "Strength of the contrastive term",
    "learning_curves": "Learning curves",
    "decay_heatmap": "tau_0 and decay temperature together",
    "omega_sensitivity": "Sensitivity to omega",
    "parallel_coordinates": "All parameters at once",
    "rung_ranks": "Did the early rungs rank as the end does?",
    "cost": "Where the hours went",
    "sample_grids": "Samples",
    "sample_neighbours": "Samples, and the training images nearest to them",
    "class_confusion": "Overlap: what samples of each class are taken for",
    "distance_over_time": "Distances of pairs over the timesteps",
}
"""Figures of one study, in the order of its report, which shows the first four that the study has
something for; a name is that of a module beside this one."""
OTHER_TITLES = {
    "study_comparison": "Studies beside each other",
    "guidance_sweep": "Scores of finished checkpoints against omega",
    "toy_landscape": "Two Gaussians under each form of the loss",
}
"""Figures of several studies, of a table of `diffrop study guidance`, and of none."""


def always(study: "StudyResults") -> bool:
    """Return True, for a figure of every study; with nothing to draw it is one sentence."""
    return True


@dataclass(frozen=True)
class StudyFigure:
    """One figure of a study, with its words."""

    name: str
    """Of its files, and of its module."""
    title: str
    draw: "Callable[[StudyResults], Figure]"
    reading: str
    """What it shows, in one sentence, and then how to read it; the protocol stands in the figure
    itself."""
    applies: "Callable[[StudyResults], bool]" = always
    """Whether the study has what the figure shows; otherwise it is drawn as one sentence."""


def study_figure(name: str) -> StudyFigure:
    """Import a figure of `TITLES` by the conventions of its module.

    The module has the function NAME_figure and the text READING; `applies`, where it has that,
    says which studies the figure is for.
    """
    module = importlib.import_module(f"diffrop.analysis.figures.{name}")
    applies = getattr(module, "applies", always)
    return StudyFigure(
        name, TITLES[name], getattr(module, f"{name}_figure"), module.READING, applies
    )
