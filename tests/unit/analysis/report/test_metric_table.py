from pathlib import Path

import pytest

from diffrop.analysis.data.load import StudyResults, load_study
from diffrop.analysis.report.metric_table import metric_columns, metric_rows
from tests.made.analysed_study import NINE_TRIALS, write_study


def test_metric_rows_have_a_difference_with_its_interval(full_study: StudyResults) -> None:
    assert metric_columns(full_study) == ["baseline", "t001", "difference"]
    rows = {row.group: row for row in metric_rows(full_study)["FID, lower is better"]}
    assert list(rows) == ["all", "many", "medium", "few"]
    trials = full_study.trials.set_index("number")
    for group, row in rows.items():
        before, after = trials.loc[0, f"fid/{group}"], trials.loc[1, f"fid/{group}"]
        assert row.values[:2] == [f"{before:.1f}", f"{after:.1f}"]
        assert float(row.values[2]) == pytest.approx(after - before, abs=0.0051)
        assert row.ends == f"[{after - before - 0.6:+.2f}, {after - before + 0.6:+.2f}]"


def test_metric_rows_without_a_best_have_the_baseline_alone(tmp_path: Path) -> None:
    study = load_study(write_study(tmp_path / "s", trials=NINE_TRIALS[:1]))
    assert metric_columns(study) == ["baseline"]
    found = metric_rows(study)
    assert [row.group for row in found["accuracy of the labels asked for, higher"]] == ["all"]
    assert all(len(row.values) == 1 and not row.ends for rows in found.values() for row in rows)
