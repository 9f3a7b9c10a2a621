from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from diffrop.record.cost_account import CostAccount
from diffrop.record.results import StudyResult
from diffrop.record.study_folder import StudyFolder
from diffrop.record.study_store import StudyStore
from diffrop.record.tables import (
    COST_TYPES,
    CURVE_TYPES,
    MEASUREMENT_TYPES,
    costs_frame,
    curves_frame,
    front_frame,
    measurements_frame,
    read_front,
    read_trials,
    write_front,
    write_trials,
)
from diffrop.study.objectives import FrontPoint
from tests.made.costly_study import write_costly_study

Finished = tuple[StudyStore, StudyResult]


def types_of(frame: pd.DataFrame) -> dict[str, str]:
    return {str(k): str(v) for k, v in frame.dtypes.astype(str).replace("object", "str").items()}


def test_trials_survive_the_table(finished: Finished) -> None:
    store, result = finished
    path = write_trials(store.folder, result)
    assert path == store.folder.trials_table
    trials = read_trials(path, "small", "reciprocal")
    assert trials["number"].tolist() == [0, 1, 2, 3]
    assert trials["study"].unique().tolist() == ["small"]
    assert trials["state"].tolist() == ["COMPLETE", "COMPLETE", "PRUNED", "FAIL"]
    assert trials["form"].tolist() == ["none", "hinge", "hinge", "hinge"]
    assert (
        trials["rank"].tolist()[:2] == [2, 1] and trials["rank"].isna().tolist()[2:] == [True] * 2
    )
    assert trials["fid/few"].tolist()[:3] == [52.0, 42.0, 3.0]
    assert trials["baseline"].tolist() == [True, False, False, False]
    assert trials["feasible"].isna().all() and trials["front"].tolist() == [
        False,
        True,
        False,
        False,
    ]
    assert trials["num_samples/few"].dtype == pd.Int64Dtype()


SCORED: dict[str, Any] = {
    "num_samples": 1_000,
    "extractor": "inception",
    "reference": "full training set, class-weighted",
    "images_seen": 24_000,
}
PROTOCOL = ["num_samples", "extractor", "reference", "images_seen"]


def front() -> list[FrontPoint]:
    return [
        FrontPoint(0, 0.0, "ddim-8", {"fid/all": 1.0, "fid/few": 9.0}, True, True, **SCORED),
        FrontPoint(1, 0.5, "ddim-8", {"fid/all": 2.0, "fid/few": 5.0}, None, False, **SCORED),
    ]


def test_front_survives_the_table(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path)
    assert read_front(folder.front_table) is None
    names = ("fid/all", "fid/few", "fid/all")  # a constraint may be on an objective
    found = read_front(write_front(folder, front(), names))
    assert found is not None
    names = ("fid/all", "fid/few")
    assert list(found) == ["number", "omega", "sampler", *PROTOCOL, *names, "feasible", "front"]
    assert found[PROTOCOL].to_dict("records") == [SCORED] * 2
    assert found["front"].tolist() == [True, False]
    assert found["feasible"].isna().tolist() == [False, True]


def test_front_without_a_point_has_its_columns() -> None:
    frame = front_frame([], ["fid/all"])
    columns = ["number", "omega", "sampler", *PROTOCOL, "fid/all", "feasible", "front"]
    assert list(frame) == columns
    assert frame.empty and frame["front"].dtype == np.bool_


def test_front_of_an_earlier_version_is_read_without_its_protocol(tmp_path: Path) -> None:
    path = tmp_path / "front.csv"
    path.write_text("number,omega,sampler,fid/all,feasible,front\n0,0.5,ddim-8,1.5,True,True\n")
    found = read_front(path)
    assert found is not None and found["fid/all"].tolist() == [1.5] and found["front"].all()


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "cannot read .*front.csv"), ("a,b\n1,2\n", "front.csv has no column 'number'")],
)
def test_file_that_is_no_front_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "front.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_front(path)


def test_frames_of_scores_curves_and_costs_are_typed(finished: Finished) -> None:
    store, result = finished
    folder = store.folder
    trials = read_trials(write_trials(folder, result), "small", "reciprocal")
    scores = measurements_frame(folder, trials)
    assert types_of(scores) == MEASUREMENT_TYPES
    assert len(scores) == 3 * 3  # trials with a score, groups
    assert types_of(curves_frame(folder, trials, 32, 128)) == CURVE_TYPES
    costs = costs_frame(CostAccount.of(folder, 0.0).entries(), trials)
    assert types_of(costs) == COST_TYPES
    assert set(costs["purpose"]) == {"full", "pruned"}


def test_costs_say_what_they_were_spent_on(tmp_path: Path) -> None:
    entries = CostAccount.of(write_costly_study(tmp_path), 0.0).entries()
    trials = pd.DataFrame(
        {"study": ["s"] * 3, "number": [0, 1, 2], "state": ["COMPLETE", "FAIL", "X"]}
    )
    costs = costs_frame(entries, trials)
    purposes = dict(zip(costs["number"], costs["purpose"], strict=True))
    assert purposes == {0: "full", 1: "confirmation", 2: "running"}
    training = costs[costs["part"] == "training"].groupby("purpose")["seconds"].sum().to_dict()
    assert training == {"full": 396.0, "failed": 72.0, "confirmation": 108.0}
