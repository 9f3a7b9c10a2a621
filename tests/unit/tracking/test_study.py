"""What a launch says of the whole study, and what its trials say of their trainings."""

import json
from pathlib import Path

import pytest
from mlflow import MlflowClient

from diffrop.tracking import TrackedTrial, saved_views
from tests.unit.tracking.mlflow_study import (
    add_lines,
    add_score,
    history,
    make_full_trial,
    make_tracker,
    make_trial,
    runs_of,
)


def write_training(trial: TrackedTrial) -> None:
    card = {"key": "aa11", "parent": "bb22@64"}
    (trial.directory / "training/training.json").write_text(json.dumps(card))
    rows = [
        {"from": 0, "to": 64, "seconds": 30.0, "workers": 1, "gpus": 2, "time": 1.0},
        {"from": 64, "to": 192, "seconds": 60.0, "workers": 1, "gpus": 2, "time": 2.0},
    ]
    text = "".join(f"{json.dumps(row)}\n" for row in rows)
    (trial.directory / "training/cost.jsonl").write_text(text)


def test_costs_add_up_and_lineage_becomes_tags(uri: str, tmp_path: Path) -> None:
    tracker = make_tracker(uri, tmp_path)
    trial = make_full_trial(tmp_path)
    write_training(trial)
    tracker.sync(trial)
    assert tracker.close("FINISHED") == []
    run = runs_of(uri)[1]["7"]
    assert [row[::2] for row in history(uri, run, "cost/training_s")] == [(64, 30.0), (192, 90.0)]
    assert run.data.metrics["cost/training_gpu_hours"] == pytest.approx(90 * 2 / 3600)
    assert run.data.tags["training_key"] == "aa11"
    assert run.data.tags["parent_checkpoint"] == "bb22@64"


def test_stopped_trial_has_no_lines_of_the_longer_training_it_shares(
    uri: str, tmp_path: Path
) -> None:
    trial = make_trial(tmp_path, state="PRUNED")
    add_lines(trial, count=6)
    add_score(trial, 128, few=90.0, final=False)
    tracker = make_tracker(uri, tmp_path)
    tracker.sync(trial)
    run = runs_of(uri)[1]["7"]
    assert [step for step, _, _ in history(uri, run, "loss/ddpm")] == [64, 128]
    assert "fid/few" not in run.data.metrics and run.data.metrics["rung/fid/few"] == 90.0


def test_retraining_is_a_run_of_its_own_beside_its_trial(uri: str, tmp_path: Path) -> None:
    tracker = make_tracker(uri, tmp_path)
    tracker.sync(make_full_trial(tmp_path, 7))
    retraining = make_full_trial(tmp_path / "confirm", 7, name="t007-s1 reciprocal", seed=1)
    tracker.sync(retraining)
    assert tracker.close("FINISHED") == []
    later = make_tracker(uri, tmp_path, launch="launch-2")
    later.sync(retraining)
    others, children = runs_of(uri)
    assert list(children) == ["7"]
    tags = {run.info.run_name: run.data.tags.get("diffrop.confirmation") for run in others}
    assert tags == {"launch-1": None, "launch-2": None, "t007-s1 reciprocal": "t007-s1"}


def test_launch_has_plan_fidelity_confirmation_and_verdicts(uri: str, tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text(json.dumps({"plan": {"gpu_hours": 2.0}, "fact": None}))
    rungs = [{"images": 6016, "tau": 0.6, "low": 0.2, "high": 0.9, "num_trials": 12}]
    fidelity = {"rungs": rungs, "verdict": "right"}
    (tmp_path / "fidelity.json").write_text(json.dumps(fidelity))
    leaders = [{"trial": 3, "mean": -1.5, "low": -2.0, "high": None}]
    confirmation = {"leaders": leaders, "verdict": "t003 is better"}
    (tmp_path / "confirm.json").write_text(json.dumps(confirmation))
    tracker = make_tracker(uri, tmp_path)
    tracker.log_study(tmp_path)
    assert tracker.close("FINISHED") == []
    [parent], _ = runs_of(uri)
    metrics = parent.data.metrics
    assert metrics["plan/gpu_hours"] == 2.0 and metrics["confirmation/t003_mean"] == -1.5
    assert history(uri, parent, "fidelity/tau")[0][::2] == (6016, 0.6)
    assert parent.data.tags["verdict.fidelity"] == "right"
    assert "t003 is better" in parent.data.tags["mlflow.note.content"]
    found = {item.path for item in MlflowClient(uri).list_artifacts(parent.info.run_id)}
    assert found == {"plan.json", "fidelity.json", "confirm.json"}


def test_torn_result_is_named_and_its_file_is_logged_all_the_same(
    uri: str, tmp_path: Path
) -> None:
    (tmp_path / "confirm.json").write_text('{"leaders": [')
    tracker = make_tracker(uri, tmp_path)
    with pytest.warns(UserWarning, match=r"confirm\.json cannot be read"):
        tracker.log_study(tmp_path)
        [sentence] = tracker.close("FINISHED")
    assert sentence.startswith("the study's summary is not completely in MLflow")
    [parent], _ = runs_of(uri)
    assert MlflowClient(uri).list_artifacts(parent.info.run_id)[0].path == "confirm.json"


def test_ended_trial_is_left_alone_until_the_end(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker, trial = make_tracker(uri, tmp_path), make_full_trial(tmp_path)
    tracker.sync(trial)
    looks: list[int] = []
    mark = TrackedTrial.mark

    def counted(trial: TrackedTrial) -> str:
        looks.append(trial.number)
        return mark(trial)

    monkeypatch.setattr(TrackedTrial, "mark", counted)
    for _ in range(3):
        tracker.sync(trial)
    assert looks == []
    add_score(trial, 256, few=33.0)  # its worker wrote on while it was stopped
    assert tracker.close("FINISHED") == []
    assert looks == [7] and runs_of(uri)[1]["7"].data.metrics["rung/fid/few"] == 33.0


def test_views_name_the_objective_and_what_was_searched(uri: str, tmp_path: Path) -> None:
    tags = saved_views(["fid/few", "accuracy/all"], ["contrastive.tau_0"])
    make_tracker(uri, tmp_path, experiment_tags=tags)
    found = MlflowClient(uri).get_experiment_by_name("study")
    assert found is not None and tags.items() <= found.tags.items()
    view = json.loads(tags["mlflow.sharedViewState.trials"])
    state = json.loads(view["state"])
    assert state["orderByKey"] == "metrics.`fid/few`"
    assert {"metrics.`accuracy/all`", "params.`contrastive.tau_0`"} <= set(
        state["selectedColumns"]
    )
    assert all(len(value) < 5_000 for value in tags.values())  # MLflow's limit
