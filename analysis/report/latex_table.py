"""A study's result as a table for a paper: the baseline and the best trial of each form."""

import math
from collections.abc import Iterable

from diffrop.analysis.data.compare import baseline_trial, best_of_each_form
from diffrop.analysis.data.load import StudyResults
from diffrop.analysis.data.words import difference_text, score_label
from diffrop.analysis.figures import style
from diffrop.analysis.report.summary import cell_text
from diffrop.shot_groups import GROUPS

ESCAPED = str.maketrans(
    {character: f"\\{character}" for character in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
)
HEADS = {
    "tau_0": r"$\tau_0$",
    "decay_temperature": "decay temperature",
    "margin": "margin",
    "omega": r"$\omega$",
}
NONE = "--"


def latex_table(study: StudyResults) -> str:
    """Return the baseline and the best trial of each form in LaTeX, the baseline first.

    The columns are the form, what was searched, omega, FID of all classes and of each shot group
    with the lowest in bold, and the objective less the baseline's with its 95 % interval over
    samples. The caption holds the protocol.

    Returns:
        a table environment, which needs the package booktabs.

    Raises:
        ValueError: no trial is complete.
    """
    trials = style.in_form_order(best_of_each_form(study))
    if trials.empty:
        raise ValueError(f"study {study.name!r} has no complete trial, so there is no table")
    baseline = baseline_trial(study)
    columns = {"form": [_escaped(style.form_style(str(form)).label) for form in trials["form"]]}
    for key, head in HEADS.items():
        if trials[key].notna().any():
            columns[head] = [_escaped(cell_text(value)) or NONE for value in trials[key]]
    scores = [f"fid/{group}" for group in GROUPS if trials[f"fid/{group}"].notna().any()]
    for score in scores:
        texts, lowest = [_score(value) for value in trials[score]], _score(trials[score].min())
        columns[score.replace("fid/", "FID ")] = [
            f"\\textbf{{{text}}}" if text == lowest else text for text in texts
        ]
    if baseline is not None:
        columns[r"less baseline [95\,\%]"] = [
            NONE if trial["baseline"] else difference_text(trial, baseline).replace("-", "$-$")
            for _, trial in trials.iterrows()
        ]
    caption = (
        f"Baseline and best trial of each form by the {score_label(study.objective)}, one "
        f"training seed each; the lowest FID in bold. {style.caption(study, scores=scores)}."
    )
    rows = [_row(cells) for cells in zip(*columns.values(), strict=True)]
    return "\n".join(
        [
            r"\begin{table}[t]",
            r"\centering",
            f"\\caption{{{_escaped(caption)}}}",
            f"\\label{{tab:{study.name}}}",
            f"\\begin{{tabular}}{{l{'r' * (len(columns) - 1)}}}",
            r"\toprule",
            _row(columns),
            r"\midrule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    )


def _score(value: float) -> str:
    """Return a score with two places, of which a paper rounds what it likes."""
    return NONE if math.isnan(value) else f"{value:.2f}"


def _row(cells: Iterable[str]) -> str:
    return " & ".join(cells) + r" \\"


def _escaped(text: str) -> str:
    return text.translate(ESCAPED)
