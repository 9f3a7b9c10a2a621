"""The report of a study's folder."""

from pathlib import Path

from diffrop.analysis.data.load import load_study
from diffrop.analysis.figures.drawing import draw_figures
from diffrop.analysis.report.page import write_page


def write_report(study_dir: Path) -> Path:
    """Write report.html into a study's folder and return its path."""
    study = load_study(study_dir)
    return write_page(study, draw_figures(study), study_dir)
