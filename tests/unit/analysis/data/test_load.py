import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from diffrop.analysis.data.load import StudyResults, load_studies, load_study
from diffrop.record.tables import MEASUREMENT_TYPES
from diffrop.shot_groups import GROUPS
from tests.made.analysed_study import (
    EXPERIMENT,
    OMEGAS,
    REFERENCE_SCORES,
    SPACE,
    read_trials,
    write_study,
    write_trials,
)
from tests.made.full_study import COST, agreement, write_full_study


def test_trials_have_one_typed_row_each(study: StudyResults) -> None:
    trials = study.trials
    assert trials["number"].tolist() == list(range(9))
    assert trials["state"].value_counts().to_dict() == {"COMPLETE": 6, "FAIL": 2, "PRUNED": 1}
    assert trials["baseline"].dtype == np.bool_ and trials["baseline"].tolist() == [True] + 8 * [
        False
    ]
    for name in (
        "value",
        "omega",
        "tau_0",
        "decay_temperature",
        "margin",
        "fid/few",
        "duration_s",
    ):
        assert trials[name].dtype == np.float64, name
    for name in ("rank", "images_seen", "rung", "num_samples/all", "num_samples/few"):
        assert trials[name].dtype == pd.Int64Dtype(), name
    assert sorted(trials["rank"].dropna()) == [1, 2, 3, 4, 5, 6]


def test_complete_trials_have_every_number(study: StudyResults) -> None:
    complete = study.trials[study.trials["state"] == "COMPLETE"]
    scores = [f"{kind}/{group}" for kind in ("fid", "num_samples") for group in GROUPS]
    needed = ["rank", "value", "omega", "images_seen", "rung", "duration_s", *scores]
    assert complete[needed].notna().all(axis=None)
    assert (complete[["sampler", "extractor", "form"]] != "").all(axis=None)


def test_empty_cells_become_nan_or_empty_text(study: StudyResults) -> None:
    baseline, failed = study.trials.loc[0], study.trials.loc[7]
    assert baseline["form"] == "none" and np.isnan(baseline["tau_0"])
    assert np.isnan(failed["value"]) and failed["sampler"] == "" and pd.isna(failed["images_seen"])
    assert failed["message"] == "NonFiniteError: loss is nan at image 1,024"


def test_further_columns_are_kept(study: StudyResults) -> None:
    assert study.trials["contrastive.space"].tolist() == ["mu"] * 9


@pytest.mark.parametrize("stored", ["-", ""])
def test_form_that_is_not_searched_is_the_experiments(tmp_path: Path, stored: str) -> None:
    directory = write_study(tmp_path / "study")
    write_trials(directory, [row | {"form": stored} for row in read_trials(directory)])
    forms = load_study(directory).trials["form"].tolist()
    assert forms == ["none"] + 8 * [EXPERIMENT.contrastive.form]


def test_space_is_read(study: StudyResults) -> None:
    assert study.space == SPACE


def test_measurements_hold_every_score_of_every_rung(study: StudyResults) -> None:
    rows = study.measurements
    assert rows.dtypes.astype(str).replace({"object": "str"}).to_dict() == MEASUREMENT_TYPES
    num_rungs, num_scores = 6 * 3 + 1 + 0 + 1, 8  # complete, pruned, failed at once, failed later
    assert len(rows) == num_rungs * len(OMEGAS) * num_scores
    assert rows["value"].notna().all() and 7 not in rows["number"].tolist()
    assert rows.loc[rows["final"], "images_seen"].unique().tolist() == [24_000]


def test_measurements_carry_the_n_of_their_own_group(study: StudyResults) -> None:
    rows = study.measurements

    def counts(score: str, final: bool) -> list[int]:
        return (
            rows.loc[(rows["score"] == score) & (rows["final"] == final), "num_samples"]
            .unique()
            .tolist()
        )

    assert counts("fid/all", True) == counts("accuracy/all", True) == [1000]
    assert counts("fid/few", True) == counts("fid_full/few", True) == [300]
    assert counts("fid/all", False) == [300] and counts("fid/few", False) == [90]


def test_best_omega_of_the_curve_gives_the_trials_value(study: StudyResults) -> None:
    rows = study.measurements[
        study.measurements["final"] & (study.measurements["score"] == "fid/all")
    ]
    least = rows.groupby("number")["value"].min()
    complete = study.trials[study.trials["state"] == "COMPLETE"].set_index("number")
    pd.testing.assert_series_equal(least, complete["value"], check_names=False)


def test_curves_are_the_logged_lines(study: StudyResults, study_dir: Path) -> None:
    text = (study_dir / "trials" / "t003" / "training/metrics.jsonl").read_text()
    logged = {
        row["images_seen"]: row["pcl/grad_ratio"] for row in map(json.loads, text.splitlines())
    }
    curves = study.curves
    mine = curves[(curves["number"] == 3) & (curves["measure"] == "pcl/grad_ratio")]
    assert dict(zip(mine["images_seen"], mine["value"], strict=True)) == logged
    assert "time" not in curves["measure"].tolist()
    assert 0 not in curves.loc[curves["measure"] == "pcl/grad_ratio", "number"].tolist()


def test_torn_and_repeated_lines_of_a_killed_trial_are_cleaned(tmp_path: Path) -> None:
    directory = write_study(tmp_path / "study")
    path = directory / "trials" / "t001" / "training/metrics.jsonl"
    lines = [
        '{"images_seen": 512, "loss/ddpm": 3.0}',
        '{"images_seen": 1024, "loss/d',
        "7",
        '{"images_seen": 512, "loss/ddpm": 2.0}',
        '{"images_seen": 1024, "loss/ddpm": null}',
        '{"loss/ddpm": 1.0}',
    ]
    path.write_text("\n".join(lines))
    curves = load_study(directory).curves
    assert curves.loc[curves["number"] == 1, ["images_seen", "value"]].values.tolist() == [
        [512, 2.0]
    ]


def test_reference_scores_and_export_are_read(study: StudyResults) -> None:
    assert study.reference_scores == REFERENCE_SCORES
    assert study.best["omega"] == 1.0 and study.objective == "fid/all"
    assert study.setting("training.num_images") == 24_000 and study.setting("no.such") is None


def test_unfinished_study_has_empty_typed_frames(tmp_path: Path) -> None:
    directory = write_study(
        tmp_path / "study",
        trials=[(1, "FAIL", "hinge", 1.0, 0.3, 1.0, 0, "died")],
        reference_scores=False,
        export=False,
    )
    (directory / "trials" / "t001" / "training/metrics.jsonl").unlink()
    study = load_study(directory)
    assert study.measurements.empty and study.curves.empty
    assert (
        study.measurements["final"].dtype == np.bool_ and study.curves["value"].dtype == np.float64
    )
    assert study.reference_scores == {} and study.best == {}


def test_rounds_of_the_omega_search_keep_their_own_n(full_study: StudyResults) -> None:
    rows = full_study.measurements
    rows = rows[(rows["number"] == 1) & rows["final"] & (rows["score"] == "fid/few")]
    assert sorted(rows["round_samples"].unique()) == [250, 500, 1000]
    assert rows.groupby("round_samples")["omega"].nunique().to_dict() == {250: 5, 500: 3, 1000: 1}
    counts = rows.groupby("round_samples")["num_samples"].unique().map(list).to_dict()
    assert counts == {250: [75], 500: [150], 1000: [300]}


def test_present_format_has_typed_columns_and_files(full_study: StudyResults) -> None:
    trials = full_study.trials
    assert trials["feasible"].dtype == pd.BooleanDtype() and trials["front"].dtype == np.bool_
    assert trials["feasible"].isna().tolist() == (trials["state"] != "COMPLETE").tolist()
    assert trials["audited_at"].dropna().to_dict() == {8: 12_032, 17: 6_016}
    assert (
        trials["training_s"].dtype == np.float64 and trials.loc[1, "training_key"] == f"{1:016x}"
    )
    assert trials["samples_drawn"].dtype == pd.Int64Dtype()
    assert full_study.objectives == ["fid/all", "fid/few"] and full_study.objective == "fid/all"
    assert full_study.agreement == agreement(len(trials[trials["state"] == "COMPLETE"]))
    assert full_study.confirmation is not None and full_study.confirmation.best == 1
    assert (
        full_study.front is not None and full_study.front["front"].sum() == trials["front"].sum()
    )
    assert full_study.cost == COST


def test_curves_come_through_the_link_and_end_where_a_trial_was_stopped(tmp_path: Path) -> None:
    directory = write_full_study(tmp_path / "full")
    path = directory / "trials" / "t006" / "training" / "metrics.jsonl"
    assert path.resolve().parent.parent.name == "checkpoints"
    longer = json.dumps({"images_seen": 20_480, "loss/ddpm": 0.1})
    path.write_text(f"{path.read_text()}{longer}\n")
    curves = load_study(directory).curves
    assert curves.loc[curves["number"] == 6, "images_seen"].max() <= 6_016


def test_trunk_is_counted_once_and_a_shared_training_too(tmp_path: Path) -> None:
    directory = write_full_study(tmp_path / "full")
    twin = directory / "trials" / "t009" / "training"
    twin.unlink()
    twin.symlink_to(Path("../../../checkpoints") / f"{1:016x}")  # the training of trial 1
    costs = load_study(directory).costs
    training = costs[costs["part"] == "training"]
    own = training.loc[training["purpose"] == "full", "number"].tolist()
    assert own.count(1) == 3 and 9 not in own
    trunk = training[training["purpose"] == "shared training"]
    assert len(trunk) == 1 and trunk["number"].isna().all()


def test_several_studies_are_one_set_of_frames(study: StudyResults, full_dir: Path) -> None:
    frames = load_studies([study, full_dir])
    assert frames.trials["study"].unique().tolist() == ["tau-sweep", "full"]
    assert len(frames.trials) == 9 + 18
    assert frames.measurements.dtypes.astype(str).replace({"object": "str"}).to_dict() == (
        MEASUREMENT_TYPES
    )
    assert len(frames.curves) == len(study.curves) + len(load_study(full_dir).curves)
