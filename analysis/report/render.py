"""What a study draws at its end; the means to draw are imported when it gets there."""

from pathlib import Path


def study_answer(study_dir: Path) -> str:
    """Return what a study found as its report says it, and how certain that is.

    Raises:
        ValueError: the folder is no study.
    """
    from diffrop.analysis.data.load import load_study
    from diffrop.analysis.report.summary import answer

    found = answer(load_study(study_dir))
    said = found.is_confirmed or found.certainty in found.headline
    return found.headline if said else f"{found.headline} ({found.certainty}.)"


def render_study(study_dir: Path) -> list[Path]:
    """Draw a study's figures and write its report; return the files.

    The study has just run with the extractor that its command line named, which is trusted.

    Raises:
        ValueError: the folder is no study.
    """
    from diffrop.analysis.data.load import load_study
    from diffrop.analysis.figures.drawing import draw_figures, save_figures
    from diffrop.analysis.report.page import write_page

    study = load_study(study_dir, trusted=True)
    drawn, paths = [], []
    for item in draw_figures(study):  # saved one by one: a launch that is stopped may end here
        drawn.append(item)
        paths += save_figures([item], study_dir / "figures")
    return [*paths, write_page(study, drawn, study_dir)]
