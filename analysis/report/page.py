"""One self-contained report.html of a study: the answer, the figures, the trials, the protocol."""

import base64
import io
import math
import re
import shlex
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape
from matplotlib.figure import Figure

from diffrop.analysis.data.confirmed import confirmed
from diffrop.analysis.data.load import StudyResults
from diffrop.analysis.data.words import format_count, format_score, score_label
from diffrop.analysis.figures.drawing import or_failure
from diffrop.analysis.figures.registry import StudyFigure
from diffrop.analysis.figures.style import PAPER, is_words, remove_caption, write_figure
from diffrop.analysis.report.live import Live
from diffrop.analysis.report.metric_table import metric_columns, metric_rows
from diffrop.analysis.report.protocol import protocol_rows, space_row, versions_text
from diffrop.analysis.report.sections import (
    confirmation_section,
    cost_section,
    front_section,
    known_before,
    stopping_section,
)
from diffrop.analysis.report.summary import (
    answer,
    counts_in_words,
    has_accuracy,
    reasons_for_no_best,
)
from diffrop.analysis.report.template import rendered
from diffrop.analysis.report.trial_table import trial_columns, trial_rows
from diffrop.record.next_step import StudyEnd, next_step, train_command
from diffrop.shot_groups import GROUPS
from diffrop.storage import write_atomically
from diffrop.study.ranking import order_in_words

NUM_SHOWN = 4
"""Figures that stand open on the page, none of them a sentence; the others are unfolded."""
SAMPLES = "sample_grids"
"""The figure that has a section of its own."""
MAX_SVG_CHARACTERS = 700_000
"""A figure of more shapes than this is drawn in pixels, so that the page stays light."""
PIXELS_DPI = 160
STEPS = {
    "resume": "carry on with the trials that have not ended",
    "confirm": "train the leaders and the baseline again with fresh seeds",
    "search": "search on with more trials, and confirm the leaders with more seeds",
    "train": "train the best configuration in full",
}
"""What the words of `next_step` stand for."""


def write_page(
    study: StudyResults,
    drawn: Iterable[tuple[StudyFigure, Figure]],
    folder: Path,
    standing: str = "",
) -> Path:
    """Write report.html of a study into a folder; return its path.

    Args:
        study: what it tells of.
        drawn: its figures.
        folder: for the page.
        standing: how far the study is, if it still runs: then the page says that it is live.
    """
    live = Live(standing, time.time()) if standing else None
    html = rendered("report.html.j2", _context(study, drawn, live))
    path = folder / "report.html"
    write_atomically(path, html)
    return path


def _context(
    study: StudyResults, drawn: Iterable[tuple[StudyFigure, Figure]], live: Live | None
) -> dict[str, Any]:
    """Return everything that the template shows."""
    shown = {item.name: _figure(item, figure) for item, figure in drawn}
    samples = shown.pop(SAMPLES, None)
    figures = sorted(shown.values(), key=lambda figure: bool(figure["is_words"]))
    return {
        "name": study.name,
        "live": live,
        "counts": counts_in_words(study),
        "answer": answer(study),
        "order": order_in_words(study.objectives, bool(study.trials["feasible"].notna().any())),
        "objective_label": score_label(study.objective),
        "reference_scores": _reference_scores(study),
        "figures": figures[:NUM_SHOWN],
        "more_figures": figures[NUM_SHOWN:],
        "columns": trial_columns(study),
        "rows": trial_rows(study),
        "has_accuracy": has_accuracy(study),
        "confirmation": confirmation_section(study),
        "seed_spread": study.confirmation and study.confirmation.seed_spread,
        "known_before": known_before(study),
        "stopping": stopping_section(study),
        "front": front_section(study),
        "cost": cost_section(study),
        "groups": GROUPS,
        "metrics": metric_rows(study),
        "metric_columns": metric_columns(study),
        "samples": samples,
        "protocol": protocol_rows(study),
        "space": [space_row(item) for item in study.space],
        "command": study.config.get("command"),
        "next": _next_step(study) if live is None else ("", ""),
        "exported": bool(study.best) and not reasons_for_no_best(study),
        "directory": shlex.quote(_from_here(study.directory)),
        "train": train_command(_from_here(study.directory)),
        "versions": versions_text(study),
        "published_scale": str(study.setting("evaluation.extractor")).startswith("inception"),
    }


def _figure(item: StudyFigure, figure: Figure) -> dict[str, Any]:
    # The caption moves from the picture to the page, where it keeps its size on a phone, and which
    # has the protocol once, among the details.
    notes = remove_caption(figure)
    first, _, rest = item.reading.partition(". ")
    return {
        "title": item.title,
        "is_words": is_words(figure),
        "picture": or_failure(figure, partial(picture, item=item)),
        "sentence": f"{first.rstrip('.')}.",
        "reading": " ".join(
            filter(None, [rest, f"{notes[:1].upper()}{notes[1:]}." * bool(notes)])
        ),
    }


def picture(figure: Figure, item: StudyFigure) -> Markup:
    """Return a figure as inline SVG, or as pixels on white paper where that would be too long."""
    svg = inline_svg(figure, item)
    if len(svg) <= MAX_SVG_CHARACTERS:
        return svg
    file = io.BytesIO()
    write_figure(figure, file, item.name, format="png", dpi=PIXELS_DPI)
    data = base64.b64encode(file.getvalue()).decode("ascii")
    source = f"data:image/png;base64,{data}"
    return Markup('<img class="paper" alt="{}" src="{}">').format(item.title, source)


def inline_svg(figure: Figure, item: StudyFigure) -> Markup:
    """Return a figure as SVG for HTML: no references, ink and paper in the page's colours."""
    file = io.StringIO()
    options = {"format": "svg", "transparent": True, "metadata": {"Date": None}}
    write_figure(figure, file, item.name, **options)
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = svg.replace("<svg", f'<svg role="img" aria-label="{escape(item.title)}"', 1)
    # All figures share the page, so that their ids must not meet.
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{item.name}-", svg)
    svg = svg.replace(PAPER, "var(--page)")
    return Markup(re.sub(r"#000000\b", "currentColor", svg))


def _from_here(path: Path) -> str:
    """Return a path as short as it can be typed from here."""
    path, here = path.resolve(), Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _next_step(study: StudyResults) -> tuple[str, str]:
    """Return what to do next, in words, and the command; both empty if there is nothing."""
    states, found = study.trials["state"], confirmed(study)
    ended = int((states != "RUNNING").sum())
    complete = study.trials[(states == "COMPLETE") & study.trials["value"].notna()]
    step, command = next_step(
        StudyEnd(
            command=str(study.config.get("command") or ""),
            name=study.name,
            folder=_from_here(study.directory),
            num_left=int(study.config.get("num_trials", ended)) - ended,
            num_candidates=int((~complete["baseline"].astype(bool)).sum()),
            is_learned=not reasons_for_no_best(study) and bool(study.best),
            is_confirmed=found is not None,
            num_trials=int(study.config.get("num_trials", ended)),
            has_best=found is not None and found.is_best,
        )
    )
    return STEPS.get(step, ""), command


def _reference_scores(study: StudyResults) -> list[dict[str, Any]]:
    names = {"real": "Real images", "noise": "Pure noise"}
    rows = []
    for key, name in names.items():
        found = study.reference_scores.get(key)
        if found:
            scores, counts = found.get("scores") or {}, found.get("num_samples") or {}
            cells = [
                (
                    format_score(scores.get(f"fid/{group}", math.nan)),
                    format_count(counts.get(group)),
                )
                for group in GROUPS
            ]
            rows.append({"name": name, "cells": cells, "note": found.get("note", "")})
    return rows
