"""The command `diffrop figures`: one figure by its name, all that apply, or the report.

What draws is imported when it is needed: help, the list of names and a mistyped name answer at
once.
"""

import argparse
import contextlib
import difflib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from diffrop.activity import Tell, untold
from diffrop.analysis.figures.registry import OTHER_TITLES, TITLES, study_figure
from diffrop.edge import errors_to_exit

if TYPE_CHECKING:
    from diffrop.analysis.data.load import StudyResults

ACTIONS = {
    "list": "List all figures with their titles",
    "all": "Draw all figures that a study has something for",
    "report": "Write report.html of a study",
}
NAMES = (*ACTIONS, *TITLES, *OTHER_TITLES)
FIGURES = Path("figures")
"""Where figures go that belong to no single study."""

Watched = Callable[[], contextlib.AbstractContextManager[Tell]]
"""Returns what shows, for as long as it is entered, what is being done."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Refuse like all other wrong input: in one sentence, without the usage."""
        raise ValueError(message)


def ended(folder: Path) -> str:
    """Say of any study that it no longer runs; see `main`."""
    return ""


def unwatched() -> contextlib.AbstractContextManager[Tell]:
    """Show nothing of what is being done; see `main`."""
    return contextlib.nullcontext(untold)


def main(
    argv: Sequence[str],
    command: str = "diffrop figures",
    standing: Callable[[Path], str] = ended,
    watched: Watched = unwatched,
) -> int:
    """Do what the command line asks for, and print the files that were written.

    Args:
        argv: what was typed after the command.
        command: as it was typed.
        standing: returns how far the study of a folder is; empty if it does not run.
        watched: shows what is being done; the files are printed after it.

    Returns:
        the exit code.
    """
    with errors_to_exit(argv):
        _check_name(argv, command)
        return _write(figures_parser(command).parse_args(argv), standing, watched)


def report_main(
    argv: Sequence[str],
    command: str = "diffrop report",
    standing: Callable[[Path], str] = ended,
    watched: Watched = unwatched,
) -> int:
    """Write a study's report, and print its file; see `main`."""
    with errors_to_exit(argv):
        return _write(report_parser(command).parse_args(argv), standing, watched)


def _write(args: argparse.Namespace, standing: Callable[[Path], str], watched: Watched) -> int:
    args.standing = standing
    with watched() if args.takes_long else unwatched() as args.tell:
        lines = args.run(args)
    for line in lines:
        print(line)
    return 0


def _check_name(argv: Sequence[str], command: str) -> None:
    """Refuse a name that there is not, with the nearest ones."""
    if not argv or argv[0].startswith("-") or argv[0] in NAMES:
        return
    nearest = ", ".join(difflib.get_close_matches(argv[0], NAMES, n=3))
    hint = f"the nearest names are {nearest}; " if nearest else ""
    raise ValueError(f"there is no figure {argv[0]!r}; {hint}`{command} list` lists all figures")


def report_parser(command: str) -> argparse.ArgumentParser:
    """Return the parser of a command that writes the report alone."""
    parser = _Parser(prog=command, description=f"{ACTIONS['report']}; nothing is trained.")
    _add_report(parser)
    return parser


def figures_parser(command: str) -> argparse.ArgumentParser:
    """Return the parser of the command; `command` stands before the options in its help."""
    parser = _Parser(
        prog=command,
        description="Draw figures of finished studies, as PNG and SVG; nothing is trained.",
    )
    names = parser.add_subparsers(dest="name", metavar="NAME", required=True)
    for name, title in (ACTIONS | TITLES | OTHER_TITLES).items():
        own = names.add_parser(name, help=title, description=f"{title}.")
        match name:
            case "list":
                _set_run(own, _list, takes_long=False)
            case "toy_landscape":
                _set_run(own, _draw_toy_landscape)
                own.add_argument("--tau", type=float, default=0.2, help="weight of the loss (0.2)")
                _add_out(own, f"({FIGURES})")
            case "guidance_sweep":
                _set_run(own, _draw_guidance_sweep)
                own.add_argument("folder", type=Path, help="what diffrop study guidance wrote")
                _add_out(own, "(the same folder)")
            case "study_comparison":
                _set_run(own, _draw_study_comparison)
                _add_study(own, "studies", nargs="+")
                _add_out(own, f"({FIGURES})")
            case "report":
                _add_report(own)
            case _:
                _set_run(own, _draw_all if name == "all" else _draw_figure)
                _add_study(own, "study")
                _add_out(own, "(STUDY/figures)")
    return parser


def _set_run(
    parser: argparse.ArgumentParser,
    run: Callable[[argparse.Namespace], Sequence[object]],
    takes_long: bool = True,
) -> None:
    parser.set_defaults(run=run, takes_long=takes_long)
    parser.add_argument("--debug", action="store_true", help="show the trace of an error")


def _add_report(parser: argparse.ArgumentParser) -> None:
    _set_run(parser, _write_report)
    _add_study(parser, "study")
    _add_out(parser, "(STUDY)")


def _add_study(parser: argparse.ArgumentParser, name: str, nargs: str | None = None) -> None:
    words = "folder of a study, such as runs/tau-sweep; or of one in MLflow TRACKING_URI#NAME"
    parser.add_argument(name, nargs=nargs, metavar="STUDY", help=words)
    words = "STUDY is a name in this MLflow, not a folder"
    parser.add_argument("--tracking-uri", metavar="URI", help=words)
    words = "call an extractor of one's own that the study names (else pixels take its place)"
    parser.add_argument("--trust-code", action="store_true", help=words)


def _add_out(parser: argparse.ArgumentParser, default: str) -> None:
    parser.add_argument("--out", type=Path, metavar="DIR", help=f"folder to write to {default}")


def _address(study: str, args: argparse.Namespace) -> str:
    return study if args.tracking_uri is None else f"{args.tracking_uri}#{study}"


def _load(study: str, args: argparse.Namespace) -> "StudyResults":
    args.tell(f"reading {study}", None)
    from diffrop.analysis.data.load import load_study

    return load_study(_address(study, args), trusted=args.trust_code)


def _folder(args: argparse.Namespace) -> Path:
    """Return the study's folder; of a study in MLflow, one of its name here."""
    name = _name_in_mlflow(args)
    return Path(args.study if name is None else name.partition("@")[0])


def _name_in_mlflow(args: argparse.Namespace) -> str | None:
    from diffrop.analysis.data.tracked import split_address

    tracked = split_address(_address(args.study, args))
    return tracked[1] if tracked else None


def _list(args: argparse.Namespace) -> Sequence[str]:
    width = max(map(len, TITLES | OTHER_TITLES))
    return [f"{name:{width}}  {title}" for name, title in (TITLES | OTHER_TITLES).items()]


def _draw_figure(args: argparse.Namespace) -> Sequence[Path]:
    from diffrop.analysis.figures.style import save_figure

    study = _load(args.study, args)
    args.tell(f"drawing {args.name}", None)
    figure = study_figure(args.name).draw(study)
    return save_figure(figure, args.out or _folder(args) / "figures", args.name)


def _draw_all(args: argparse.Namespace) -> Sequence[Path]:
    from diffrop.analysis.figures.drawing import draw_figures, save_figures

    study = _load(args.study, args)
    drawn = draw_figures(study, tell=args.tell)
    return save_figures(drawn, args.out or _folder(args) / "figures")


def _write_report(args: argparse.Namespace) -> Sequence[Path]:
    from diffrop.analysis.figures.drawing import draw_figures
    from diffrop.analysis.report.page import write_page

    study = _load(args.study, args)
    standing = args.standing(_folder(args)) if _name_in_mlflow(args) is None else ""
    drawn = draw_figures(study, tell=args.tell)
    return [write_page(study, drawn, args.out or _folder(args), standing)]


def _draw_study_comparison(args: argparse.Namespace) -> Sequence[Path]:
    from diffrop.analysis.figures.study_comparison import study_comparison_figure
    from diffrop.analysis.figures.style import save_figure

    studies = [_load(study, args) for study in args.studies]
    args.tell(f"drawing {args.name}", None)
    return save_figure(study_comparison_figure(studies), args.out or FIGURES, args.name)


def _draw_guidance_sweep(args: argparse.Namespace) -> Sequence[Path]:
    from diffrop.analysis.figures.guidance_sweep import guidance_sweep_figure, read_guidance_sweep
    from diffrop.analysis.figures.style import save_figure

    figure = guidance_sweep_figure(read_guidance_sweep(args.folder))
    return save_figure(figure, args.out or args.folder, args.name)


def _draw_toy_landscape(args: argparse.Namespace) -> Sequence[Path]:
    from diffrop.analysis.figures.style import save_figure
    from diffrop.analysis.figures.toy_landscape import toy_landscape_figure

    return save_figure(toy_landscape_figure(args.tau), args.out or FIGURES, args.name)
