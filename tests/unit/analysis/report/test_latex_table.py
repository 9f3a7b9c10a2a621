import dataclasses
import re

import pytest

from diffrop.analysis.data.compare import baseline_trial, best_of_each_form
from diffrop.analysis.data.load import StudyResults
from diffrop.analysis.report.latex_table import latex_table

COLUMN = re.compile(r"(?<!\\)&")


def cells_of(table: str) -> list[list[str]]:
    """The head and the rows of a table, as LaTeX splits them at its unescaped "&"."""
    lines = [line for line in table.splitlines() if line.endswith(r"\\")]
    return [[cell.strip() for cell in COLUMN.split(line.removesuffix(r"\\"))] for line in lines]


def test_rows_are_the_baseline_and_the_best_of_each_form(full_study: StudyResults) -> None:
    head, *rows = cells_of(latex_table(full_study))
    assert {len(row) for row in rows} == {len(head)}
    assert [row[0] for row in rows] == [
        "baseline", r"negative\_l2", "hinge", "reciprocal", "exponential",
    ]  # fmt: skip
    best = best_of_each_form(full_study).set_index("form")
    shown = {row[0].replace("\\", ""): row[head.index("FID few")] for row in rows}
    for form, value in best["fid/few"].items():
        text = f"{value:.2f}"
        is_best = value == best["fid/few"].min()
        name = "baseline" if form == "none" else form
        assert shown[str(name)] == (f"\\textbf{{{text}}}" if is_best else text)
    baseline = baseline_trial(full_study)
    assert baseline is not None
    change = best["value"]["reciprocal"] - baseline["value"]
    assert rows[3][-1].startswith(f"{change:+.2f} [".replace("-", "$-$"))
    assert rows[0][-1] == "--"


def test_caption_has_the_protocol_and_nothing_that_acts(full_study: StudyResults) -> None:
    config = full_study.config | {"experiment": full_study.config["experiment"] | {}}
    config["experiment"]["data"] = config["experiment"]["data"] | {"dataset": r"50%_a&b\c"}
    table = latex_table(dataclasses.replace(full_study, config=config))
    assert r"50\%\_a\&b\textbackslash{}c" in table and "N = 1,000" in table
    assert r"\caption{Baseline and best trial of each form by the FID of all classes" in table


def test_study_without_complete_trials_has_no_table(unfinished_study: StudyResults) -> None:
    with pytest.raises(ValueError, match="has no complete trial"):
        latex_table(unfinished_study)
