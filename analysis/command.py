"""The command line that every module of this package shares: one study's folder."""

import argparse
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from matplotlib.figure import Figure

from analysis.load import StudyResults, load_study
from analysis.style import save_figure


def run_command(write: Callable[[Path], Iterable[Path]], description: str) -> int:
    """Run `write` on the folder of the command line, print what it wrote; return the exit code."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("study", type=Path, help="folder of a study, such as runs/tau-sweep")
    study = parser.parse_args().study
    try:
        for path in write(study):
            print(path)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def figure_command(draw: Callable[[StudyResults], Figure], name: str) -> int:
    """Draw one figure of the study on the command line into its figures/ folder."""

    def write(directory: Path) -> list[Path]:
        return save_figure(draw(load_study(directory)), directory / "figures", name)

    return run_command(write, f"Draw {name} of a study, as PNG and SVG.")
