"""Panels of a score against the guidance scale omega, which two figures have."""

import pandas as pd
from matplotlib.axes import Axes

from diffrop.analysis.data.load import StudyResults
from diffrop.analysis.data.rounds import omega_rows, round_note
from diffrop.analysis.data.words import score_label
from diffrop.analysis.figures import score_axes, style

NO_PANEL = "No complete trial was scored at two omegas, so there is no curve over omega."
TICK_GAP = 0.14
"""Least distance of two omegas that are both named on the axis, as a share of the range."""


def panel_rows(study: StudyResults, numbers: list[int]) -> dict[str, pd.DataFrame]:
    """Return the scores over omega of some trials, by score, for each that has a curve.

    They are the objective, and a second score that is worth a panel beside it.
    """
    other = "fid/all" if study.objective == "fid/few" else "fid/few"
    panels = {score: omega_rows(study, numbers, score) for score in (study.objective, other)}
    return {score: rows for score, rows in panels.items() if rows["omega"].nunique() > 1}


def style_panel(axes: Axes, score: str, rows: pd.DataFrame) -> None:
    """Give one panel over omega its title with N, its ticks and its common look."""
    counts = rows["num_samples"].dropna()
    note = f"\nN = {int(counts.iloc[0]):,}" if len(counts) else ""
    axes.set_title(score_label(score) + note, fontsize=style.LEGEND_PT, loc="left")
    axes.set_xlabel("guidance scale omega")
    ticks = spaced_ticks(sorted(rows["omega"].unique()))
    axes.set_xticks(ticks, [f"{omega:g}" for omega in ticks])
    score_axes.widen_scores(axes)
    style.tidy_axes(axes)


def spaced_ticks(omegas: list[float]) -> list[float]:
    """Return the omegas, from the least on, that have room for their names beside each other."""
    ticks: list[float] = []
    for omega in omegas:
        if not ticks or omega - ticks[-1] >= TICK_GAP * (omegas[-1] - omegas[0]):
            ticks.append(float(omega))
    return ticks


def panel_note(study: StudyResults, panels: dict[str, pd.DataFrame]) -> str:
    """Return which round the panels over omega show."""
    rows = next(iter(panels.values()))
    full = study.trials.loc[study.trials["number"].isin(rows["number"]), "num_samples/all"].max()
    return round_note(rows, None if pd.isna(full) else int(full))
