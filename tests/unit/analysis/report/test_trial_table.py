from pathlib import Path

from diffrop.analysis.data.load import StudyResults, load_study
from diffrop.analysis.report.summary import answer
from diffrop.analysis.report.trial_table import trial_columns, trial_rows
from tests.made.analysed_study import read_trials, write_study, write_trials


def test_table_ranks_only_complete_trials(study: StudyResults) -> None:
    rows, columns = trial_rows(study), trial_columns(study)
    assert [row.cells[0].text for row in rows] == ["1", "2", "3", "4", "5", "6", "", "", ""]
    assert [row.best for row in rows] == [True] + 8 * [False]
    best = dict(zip(columns, (cell.text for cell in rows[0].cells), strict=True))
    trial = study.trials.loc[1]
    assert best["trial"] == "t001" and best["omega"] == "1" and best["accuracy"] == "0.750"
    assert best["FID all"] == f"{trial['fid/all']:.1f}"
    assert best["FID few"] == f"{trial['fid/few']:.1f}"
    assert columns[:4] == ["rank", "trial", "form", "FID all"]  # in sight on a phone


def test_table_gives_pruned_and_failed_trials_words_for_scores(study: StudyResults) -> None:
    columns = trial_columns(study)
    rows = trial_rows(study)[6:]
    assert not any(row.comparable for row in rows)
    ends = {row.cells[1].text: (row.cells[3].text, row.cells[-1].text) for row in rows}
    assert ends == {
        "t006": ("pruned", "pruned at 6,016 images"),
        "t007": ("failed", "failed: NonFiniteError: loss is nan at image 1,024 (never scored)"),
        "t008": ("failed", "failed: worker died twice (last scored at 6,016 images)"),
    }
    for row in rows:
        assert len(row.cells) == len(columns)
        sorted_by = dict(zip(columns, (cell.value for cell in row.cells), strict=True))
        scores = ("omega", "FID all", "FID few", "accuracy", "less baseline [95 %]")
        assert {sorted_by[name] for name in scores} == {""}


def test_other_searched_keys_become_columns(tmp_path: Path) -> None:
    parameter = {
        "name": "contrastive.space",
        "choices": ["mu", "x0"],
        "source": "the test's own",
    }
    directory = write_study(tmp_path / "study", space={"parameters": [parameter]})
    rows = read_trials(directory)
    rows[1]["contrastive.space"] = "x0"
    write_trials(directory, rows)
    study = load_study(directory)
    row = dict(zip(trial_columns(study), trial_rows(study)[0].cells, strict=True))
    assert row["space"].text == "x0"
    assert "decay temperature = 0.3, space = x0." in answer(study).headline


def test_table_has_difference_constraints_front_and_audits(full_study: StudyResults) -> None:
    columns, rows = trial_columns(full_study), trial_rows(full_study)
    table = {row.cells[1].text: dict(zip(columns, row.cells, strict=True)) for row in rows}
    difference = table["t001"]["less baseline [95 %]"]
    assert (difference.text, difference.ends) == ("-2.68", "[-3.28, -2.08]")
    assert table["t000"]["less baseline [95 %]"].text == "0"
    assert table["t000"]["form"].text == "baseline"
    assert table["t001"]["constraints"].text == "met" and table["t001"]["front"].text == "yes"
    assert table["t004"]["constraints"].text == "not met"
    assert table["t008"]["state"].text == "complete (audited)"
    values = [float(table[f"t{n:03d}"]["FID all"].value) for n in (1, 13, 10)]
    assert values == sorted(values)
    assert table["t006"]["tau_0"].value == "0.2" and table["t006"]["FID all"].value == ""
