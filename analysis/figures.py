"""All figures of a study, in the order in which the report shows them."""

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from matplotlib.figure import Figure

from analysis import (
    class_confusion,
    confirmation,
    cost,
    decay_heatmap,
    distance_over_time,
    gradient_ratio,
    guidance_curve,
    learning_curves,
    loss_forms,
    margin_sensitivity,
    omega_sensitivity,
    parallel_coordinates,
    parameter_importance,
    pareto_front,
    rung_ranks,
    sample_neighbours,
    shot_groups,
    tau_schedules,
    tau_sensitivity,
)
from analysis.command import run_command
from analysis.compare import comparable_trials, contrastive_trials
from analysis.load import StudyResults, load_study
from analysis.model import can_read_model
from analysis.style import save_figure, sentence_figure


def always(study: StudyResults) -> bool:
    """A figure of every study; one that has nothing for it yet gets a sentence."""
    return True


@dataclass(frozen=True)
class StudyFigure:
    """One figure with its words."""

    name: str
    """Of its files, and of its module in this package."""
    draw: Callable[[StudyResults], Figure]
    title: str
    reading: str
    """How to read it; the protocol stands in the figure itself."""
    applies: Callable[[StudyResults], bool] = always
    """Whether the study has what the figure is about; drawn without, it is one sentence."""


def _entry(module: ModuleType, applies: Callable[[StudyResults], bool] = always) -> StudyFigure:
    """Register the figure of a module by its conventions: NAME_figure, TITLE and READING."""
    name = module.__name__.rpartition(".")[2]
    return StudyFigure(
        name, getattr(module, f"{name}_figure"), module.TITLE, module.READING, applies
    )


FIGURES = (
    _entry(loss_forms),
    _entry(shot_groups),
    _entry(tau_sensitivity),
    _entry(decay_heatmap, lambda study: len(contrastive_trials(study)) >= 3),
    _entry(tau_schedules, lambda study: tau_schedules.num_schedules(study) > 1),
    _entry(margin_sensitivity, lambda study: bool((study.trials["form"] == "hinge").any())),
    _entry(guidance_curve),
    _entry(omega_sensitivity, lambda study: len(comparable_trials(study)) >= 3),
    _entry(pareto_front, lambda study: len(comparable_trials(study)) >= 2),
    _entry(
        parameter_importance,
        lambda study: len(contrastive_trials(study)) >= parameter_importance.MIN_TRIALS,
    ),
    _entry(parallel_coordinates, lambda study: len(contrastive_trials(study)) >= 2),
    _entry(confirmation, lambda study: bool(study.confirmation.get("leaders"))),
    _entry(learning_curves),
    _entry(rung_ranks, lambda study: not rung_ranks.rung_ranks(study).empty),
    _entry(gradient_ratio),
    _entry(cost),
    _entry(sample_neighbours, can_read_model),
    _entry(class_confusion, can_read_model),
    _entry(distance_over_time, can_read_model),
)


def applicable_figures(study: StudyResults) -> list[StudyFigure]:
    """Return the figures that the study has something for."""
    return [figure for figure in FIGURES if figure.applies(study)]


def draw_figures(study: StudyResults) -> Iterator[tuple[StudyFigure, Figure]]:
    """Draw the figures that the study has something for; one that fails says so in its place."""
    for item in applicable_figures(study):
        try:
            figure = item.draw(study)
        except Exception as error:  # whatever it is, one figure must not cost the reader the rest
            reason = " ".join(str(error).split()) or type(error).__name__
            figure = sentence_figure(study, f"This figure could not be drawn: {reason[:200]}")
        yield item, figure


def save_figures(drawn: Iterable[tuple[StudyFigure, Figure]], study_dir: Path) -> list[Path]:
    """Write figures as PNG and SVG into a study's figures/; return the paths."""
    folder = Path(study_dir) / "figures"
    return [path for item, figure in drawn for path in save_figure(figure, folder, item.name)]


def write_figures(study_dir: Path) -> list[Path]:
    """Write every figure that applies as PNG and SVG into figures/; return the paths.

    Raises:
        ValueError: the folder is no study.
    """
    return save_figures(draw_figures(load_study(study_dir)), study_dir)


if __name__ == "__main__":
    sys.exit(run_command(write_figures, "Draw all figures of a study, as PNG and SVG."))
