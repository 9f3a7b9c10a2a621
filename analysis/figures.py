"""All figures of a study, in the order in which the report shows them."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from analysis import gradient_ratio, guidance_curve, shot_groups, tau_sensitivity
from analysis.command import run_command
from analysis.load import StudyResults, load_study
from analysis.style import save_figure


@dataclass(frozen=True)
class StudyFigure:
    """One figure with its words."""

    name: str
    """Of its files, and of its module in this package."""
    draw: Callable[[StudyResults], Figure]
    title: str
    reading: str
    """How to read it; the protocol stands in the figure itself."""


FIGURES = (
    StudyFigure(
        "tau_sensitivity",
        tau_sensitivity.tau_sensitivity_figure,
        tau_sensitivity.TITLE,
        tau_sensitivity.READING,
    ),
    StudyFigure(
        "guidance_curve",
        guidance_curve.guidance_curve_figure,
        guidance_curve.TITLE,
        guidance_curve.READING,
    ),
    StudyFigure(
        "shot_groups", shot_groups.shot_groups_figure, shot_groups.TITLE, shot_groups.READING
    ),
    StudyFigure(
        "gradient_ratio",
        gradient_ratio.gradient_ratio_figure,
        gradient_ratio.TITLE,
        gradient_ratio.READING,
    ),
)


def write_figures(study_dir: Path) -> list[Path]:
    """Write every figure of a study as PNG and SVG into its figures/ folder; return the paths.

    Raises:
        ValueError: the folder is no study.
    """
    study = load_study(study_dir)
    return [
        path
        for figure in FIGURES
        for path in save_figure(figure.draw(study), Path(study_dir) / "figures", figure.name)
    ]


if __name__ == "__main__":
    sys.exit(run_command(write_figures, "Draw all figures of a study, as PNG and SVG."))
