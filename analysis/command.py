"""The command line that every module of this package shares: one study, and where to draw it."""

import argparse
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from matplotlib.figure import Figure

from analysis.load import StudyResults, load_study
from analysis.style import save_figure
from diffrop.errors import DiffropError


def run_command(write: Callable[[Path], Iterable[Path]], description: str) -> int:
    """Run `write` on the folder of the command line, print what it wrote; return the exit code."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("study", type=Path, help="folder of a study, such as runs/tau-sweep")
    study = parser.parse_args().study
    return print_written(lambda: write(study))


def figure_command(draw: Callable[[StudyResults], Figure], name: str) -> int:
    """Draw one figure of the study on the command line; return the exit code."""
    parser = argparse.ArgumentParser(description=f"Draw {name} of a study, as PNG and SVG.")
    add = parser.add_argument
    add(
        "study", type=Path, help="folder of a study, such as runs/tau-sweep; or its name in MLflow"
    )
    add("--tracking-uri", metavar="URI", help="read the study from MLflow, not from a folder")
    add("--out", type=Path, metavar="DIR", help="folder for the figure (STUDY/figures)")
    args = parser.parse_args()

    def write() -> list[Path]:
        if args.tracking_uri is None:
            study = load_study(args.study)
        else:
            from analysis.tracked import load_tracked

            study = load_tracked(args.tracking_uri, str(args.study))
        return save_figure(draw(study), args.out or study.directory / "figures", name)

    return print_written(write)


def print_written(write: Callable[[], Iterable[Path]]) -> int:
    """Print the paths that `write` returns; refuse bad input in one sentence with exit code 2."""
    try:
        for path in write():
            print(path)
    except (ValueError, OSError, DiffropError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0
