"""What a study draws while it runs and at its end; what it takes is imported when it is called."""

from collections.abc import Sequence
from pathlib import Path

from diffrop.record.study_folder import StudyFolder
from diffrop.storage import sweep_temporaries


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


def render_study(study_dir: Path | str, standing: str = "") -> list[Path]:
    """Draw a study's figures and write its report; return the files.

    The study runs, or has just run, with the extractor that its command line named, which is
    trusted. While it runs the figures that read checkpoints are left out, which take as long as
    all others.

    Args:
        study_dir: its folder.
        standing: how far it is, if it still runs.

    Raises:
        ValueError: the folder is no study.
    """
    from diffrop.analysis.data.load import load_study
    from diffrop.analysis.figures.drawing import draw_figures, save_figures
    from diffrop.analysis.report.live import end_live_page
    from diffrop.analysis.report.page import write_page

    folder = StudyFolder(Path(study_dir))
    sweep_temporaries(folder.figures, older_than_s=60)  # of a drawing that was killed
    if not standing:
        end_live_page(folder.report)
    study = load_study(folder.path, trusted=True)
    drawn, paths = [], []
    for item in draw_figures(study, of_networks=not standing):
        drawn.append(item)  # saved one by one: a launch that is stopped may end here
        paths += save_figures([item], folder.figures)
    return [*paths, write_page(study, drawn, folder.path, standing)]


def show_standing(
    study_dir: Path, standing: str, columns: Sequence[str], rows: Sequence[Sequence[str]]
) -> None:
    """Have a study's page say how far it is while it runs; see `live.show_live`.

    Raises:
        OSError: the page cannot be written.
    """
    from diffrop.analysis.report.live import show_live

    folder = StudyFolder(study_dir)
    show_live(folder.report, folder.path.name, standing, columns, rows)
