import dataclasses
import json
from pathlib import Path

import pytest
from mlflow import MlflowClient

from diffrop.record.trial_folder import TrainingFailure
from diffrop.tracking.experiment import LAUNCHED_BY, SYNCED
from diffrop.tracking.runs import DATA, TENSORS
from diffrop.tracking.tracker import Tracker
from tests.made.mlflow_study import (
    CANARY,
    TIME,
    add_checkpoint,
    add_lines,
    add_score,
    history,
    make_full_trial,
    make_tracker,
    make_trial,
    models_of,
    runs_of,
    snapshot,
)


@pytest.mark.usefixtures("strict")
def test_launch_and_trials_form_a_tree_with_params_tags_and_artifacts(
    uri: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    tracker = make_tracker(uri, tmp_path)
    tracker.sync(make_full_trial(tmp_path, 7))
    tracker.sync(make_full_trial(tmp_path, 8))
    report = tmp_path / "report.html"
    report.write_text("first")
    tracker.log_report([report])
    report.write_text("second version")
    tracker.log_report([report])
    assert tracker.close("FINISHED") == []
    assert capfd.readouterr() == ("", "")

    [parent], children = runs_of(uri)
    assert (parent.info.run_name, parent.info.status) == ("launch-1", "FINISHED")
    assert parent.data.params == {"budget": "8"}
    assert parent.data.tags["git"] == "abc"
    assert sorted(children) == ["7", "8"]
    run = children["7"]
    assert run.info.run_name == "t007 reciprocal tau_0=3.2"
    assert "mlflow.parentRunId" not in run.data.tags  # the UI folds away what has a parent
    assert run.data.tags["form"] == "reciprocal"
    assert run.data.params["contrastive.tau_0"] == "3.2"
    assert len(run.data.params["long"]) == 6000
    client = MlflowClient(uri)
    names = [Path(f.path).name for f in client.list_artifacts(run.info.run_id, "images")]
    for start in ("samples~by rung+step+192+timestamp+", "samples~final+step+0+timestamp+"):
        suffixes = [Path(name).suffix for name in names if name.startswith(start)]
        assert sorted(suffixes) == [".png", ".webp"]
    assert run.data.tags["mlflow.loggedImages"] == "True"
    shown = Path(
        client.download_artifacts(
            parent.info.run_id, "report/report.html", str(tmp_path / "art ifacts")
        )
    )
    assert shown.read_text() == "second version"
    assert str(tmp_path / "art ifacts").replace(" ", "%20") in run.info.artifact_uri


@pytest.mark.usefixtures("strict")
def test_metrics_equal_the_files(uri: str, tmp_path: Path) -> None:
    tracker = make_tracker(uri, tmp_path)
    trial = make_trial(tmp_path)
    add_lines(trial)
    add_score(trial, 64, few=90.0, final=False)
    tracker.sync(trial)
    _, children = runs_of(uri)
    assert "fid/few" not in children["7"].data.metrics  # its N is another than a final score's
    add_lines(trial, start=3)
    add_score(trial, 384, few=60.0)
    tracker.sync(trial)

    _, children = runs_of(uri)
    run = children["7"]
    start = round(TIME * 1000)
    expected = [(64 * (i + 1), start + 1000 * i, 0.1 / (i + 1)) for i in range(6)]
    assert history(uri, run, "loss/ddpm") == expected
    assert [step for step, _, _ in history(uri, run, "pcl/grad_ratio")] == [64, 192, 320]
    when = [round((TIME + images) * 1000) for images in (64, 384)]
    rungs = [(64, when[0], 90.0), (384, when[1], 60.0)]
    assert history(uri, run, "fid_by_rung/few") == rungs
    for key, value in {"fid/few": 60.0, "fid/all": 40.0, "omega": 0.5}.items():
        assert history(uri, run, key) == [(0, when[1], value)]  # the final score alone
    groups = ("all", "many", "medium", "few")
    logged = {f"{name}/{group}" for name in ("fid", "fid_by_rung") for group in groups}
    logged |= {"loss/ddpm", "pcl/grad_ratio", "images_per_s", "omega"}
    assert run.data.metrics.keys() == logged  # and not, say, the accuracy, which is in the files
    assert tracker.close("FINISHED") == []


@pytest.mark.usefixtures("strict")
def test_syncing_again_adds_nothing_in_this_or_a_later_process(uri: str, tmp_path: Path) -> None:
    trial = make_full_trial(tmp_path)
    tracker = make_tracker(uri, tmp_path)
    tracker.sync(trial)
    before = snapshot(uri)
    tracker.sync(trial)
    tracker.close("FINISHED")
    later = make_tracker(uri, tmp_path, launch="launch-2")
    later.sync(trial)
    assert snapshot(uri) == before
    # As if the process had died before it could say that all is mirrored: all is sent again.
    client = MlflowClient(uri)
    client.delete_tag(runs_of(uri)[1]["7"].info.run_id, SYNCED)
    third = make_tracker(uri, tmp_path, launch="launch-3")
    third.sync(trial)
    assert third.close("FINISHED") == []
    assert snapshot(uri) == before


@pytest.mark.usefixtures("strict")
def test_resumed_study_goes_on_with_the_same_child_run(uri: str, tmp_path: Path) -> None:
    first = make_tracker(uri, tmp_path)
    add_lines(make_trial(tmp_path))
    first.sync(make_trial(tmp_path))
    run_id = runs_of(uri)[1]["7"].info.run_id  # the driver dies here, without a close
    second = make_tracker(uri, tmp_path, launch="launch-2")
    trial = make_trial(tmp_path, state="COMPLETE")
    add_lines(trial, start=3)
    add_checkpoint(trial, 384)
    second.sync(trial)
    second.sync(make_trial(tmp_path, 8))
    assert second.close("FINISHED") == []
    parents, children = runs_of(uri)
    assert [parent.info.run_name for parent in parents] == ["launch-1", "launch-2"]
    assert children["7"].info.run_id == run_id
    assert children["7"].info.status == "FINISHED"
    assert len(history(uri, children["7"], "loss/ddpm")) == 6
    assert len(models_of(uri)) == 1


def test_earlier_launch_that_was_left_open_is_killed(uri: str, tmp_path: Path) -> None:
    """What a killed driver left RUNNING; the trials' runs and ended launches stay as they are."""
    make_tracker(uri, tmp_path, launch="launch-1").close("FINISHED")
    dead = make_tracker(uri, tmp_path, launch="launch-2")
    dead.sync(make_trial(tmp_path))
    make_tracker(uri, tmp_path, launch="launch-3")
    last = make_tracker(uri, tmp_path, launch="launch-4")

    def statuses() -> dict[str, str]:
        parents, children = runs_of(uri)
        return {run.info.run_name: run.info.status for run in [*parents, *children.values()]}

    trial = make_trial(tmp_path).name
    expected = {"launch-1": "FINISHED", "launch-2": "KILLED", "launch-3": "KILLED"}
    assert statuses() == expected | {"launch-4": "RUNNING", trial: "RUNNING"}
    make_tracker(uri, tmp_path, launch="launch-3")  # by name an earlier one: none after it ends
    assert statuses()["launch-4"] == "RUNNING"
    assert last.close("FINISHED") == []
    assert statuses()["launch-4"] == "FINISHED"


def test_launch_of_another_driver_that_is_alive_goes_on(uri: str, tmp_path: Path) -> None:
    """Two drivers that share a study, and the launch of a third that died."""
    gone = {"driver": "gone", "alive": lambda name: False}
    make_tracker(uri, tmp_path, launch="launch-1", **gone)
    first = {"driver": "first", "alive": lambda name: name == "second"}
    make_tracker(uri, tmp_path, launch="launch-2", **first)
    second = {"driver": "second", "alive": lambda name: name == "first"}
    make_tracker(uri, tmp_path, launch="launch-2", **second)  # begun in the same second

    parents, _ = runs_of(uri)
    found = [(run.data.tags[LAUNCHED_BY], run.info.status) for run in parents]
    assert found == [("gone", "KILLED"), ("first", "RUNNING"), ("second", "RUNNING")]


def test_trial_of_another_driver_keeps_its_run(uri: str, tmp_path: Path) -> None:
    """A driver dies after another has begun, and that one carries its trial on."""
    first, second = (
        make_tracker(uri, tmp_path, launch=name, driver=name, alive=lambda name: True)
        for name in ("first", "second")
    )
    trial = make_trial(tmp_path)
    again = make_trial(tmp_path, seed=1, name="t007-s1 reciprocal tau_0=3.2")
    for found in (trial, again):
        first.sync(found)
        second.sync(found)
    others, _ = runs_of(uri)
    together = "t007 reciprocal tau_0=3.2, fresh seeds"
    assert sorted(run.info.run_name for run in others) == ["first", "second", together, again.name]


def test_same_launch_again_keeps_its_parent_run(uri: str, tmp_path: Path) -> None:
    make_tracker(uri, tmp_path).close("FAILED")
    make_tracker(uri, tmp_path, params={"budget": 9, "more": 1})
    [parent], _ = runs_of(uri)
    assert parent.info.status == "RUNNING"
    assert parent.data.params == {"budget": "8", "more": "1"}


@pytest.mark.parametrize(
    ("state", "status"),
    [("RUNNING", "RUNNING"), ("COMPLETE", "FINISHED"), ("PRUNED", "KILLED"), ("FAIL", "FAILED")],
)
def test_state_becomes_the_run_status(uri: str, tmp_path: Path, state: str, status: str) -> None:
    tracker = make_tracker(uri, tmp_path)
    tracker.sync(make_trial(tmp_path))
    add_lines(make_trial(tmp_path))
    tracker.sync(make_trial(tmp_path, state=state, message="loss is nan at 64 images"))
    [run] = runs_of(uri)[1].values()
    assert run.info.status == status
    assert run.data.tags["state"] == state
    assert run.data.tags["message"] == "loss is nan at 64 images"
    if state != "RUNNING":
        assert run.info.end_time == round((TIME + 2) * 1000)


def test_unknown_status_is_refused(uri: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="allowed: FINISHED, FAILED, KILLED"):
        make_tracker(uri, tmp_path).close("RUNNING")


@pytest.mark.usefixtures("strict")
def test_models_are_found_in_the_order_of_their_few_shot_fid(uri: str, tmp_path: Path) -> None:
    tracker = make_tracker(uri, tmp_path)
    for number, few in ((1, 80.0), (2, 30.0), (3, 55.0)):
        tracker.sync(make_full_trial(tmp_path, number, few))
    tracker.sync(make_full_trial(tmp_path, 4, few=1.0, state="PRUNED"))
    assert tracker.close("FINISHED") == []

    order = [{"field_name": "metrics.fid/few", "ascending": True}]
    models = models_of(uri, order_by=order)
    assert [model.name for model in models] == ["t002", "t003", "t001"]
    best = models[0]
    fids = {metric.key: metric.value for metric in best.metrics}
    assert fids == {"fid/all": 40.0, "fid/many": 30.0, "fid/medium": 50.0, "fid/few": 30.0}
    assert best.tags[DATA] == "d1ge57" * 9 and len(best.tags[TENSORS]) == 64
    assert [tag for tag in best.tags if not tag.startswith("mlflow.")] == ["images_seen"]
    assert not [key for key in best.params if key.startswith("mlflow.")]
    run = runs_of(uri)[1]["2"]
    assert len(history(uri, run, "fid/few")) == 1  # the model's is the run's own
    assert str(best.status) == "READY"
    assert best.source_run_id == runs_of(uri)[1]["2"].info.run_id
    assert best.params["form"] == "reciprocal"
    assert best.tags["images_seen"] == "192"
    folder = Path(best.artifact_location.removeprefix("file://").replace("%20", " "))
    assert sorted(path.name for path in folder.iterdir()) == [
        "card.json",
        "images_000000000192.safetensors",
    ]
    assert json.loads((folder / "card.json").read_text())["images_seen"] == 192


def test_model_that_an_earlier_version_logged_is_not_logged_again(
    uri: str, tmp_path: Path
) -> None:
    trial = make_full_trial(tmp_path)
    assert make_tracker(uri, tmp_path).sync(trial)
    client, [model] = MlflowClient(uri), models_of(uri)
    client.set_logged_model_tags(model.model_id, {"sha256": model.tags[TENSORS]})
    client.delete_logged_model_tag(model.model_id, TENSORS)
    client.delete_tag(runs_of(uri)[1]["7"].info.run_id, SYNCED)
    later = make_tracker(uri, tmp_path, launch="launch-2")
    assert later.sync(trial) and later.close("FINISHED") == []
    assert [found.model_id for found in models_of(uri)] == [model.model_id]


def test_nothing_internal_is_shown_and_fid_is_first_among_the_charts(
    uri: str, tmp_path: Path
) -> None:
    """The UI shows no tag of MLflow's own, and orders charts by the part before the last "/"."""
    tracker = make_tracker(uri, tmp_path)
    trial = make_full_trial(tmp_path)
    for found in (trial, make_full_trial(tmp_path, seed=1, name="t007-s1 reciprocal tau_0=3.2")):
        tracker.sync(found)
    assert tracker.close("FINISHED") == []
    others, children = runs_of(uri)
    shown = {tag for run in children.values() for tag in run.data.tags if "mlflow." not in tag}
    assert shown == {"form", "state"}
    keys = {key for run in [*others, *children.values()] for key in run.data.metrics}
    sections = sorted({key.rpartition("/")[0] for key in keys if "/" in key})
    assert sections[:2] == ["fid", "fid_by_rung"] and len(sections) > 2


def test_credentials_reach_neither_tags_nor_params_nor_artifacts(uri: str, tmp_path: Path) -> None:
    secret = f"postgresql://user:{CANARY}@host/db"
    tracker = make_tracker(
        uri, tmp_path, launch=f"l {secret}", params={"uri": secret}, tags={"uri": secret}
    )
    trial = make_full_trial(
        tmp_path,
        name=f"t007 {secret}",
        params={"storage": secret},
        tags={"form": secret},
        message=f"cannot reach {secret}",
    )
    trial.folder.record_failure(TrainingFailure(f"cannot reach {secret}", "key"))
    tracker.sync(trial)
    assert tracker.close("FINISHED") == []
    content = (tmp_path / "mlflow.db").read_bytes()
    stored = [path for path in (tmp_path / "art ifacts").rglob("*") if path.is_file()]
    assert b"t007" in content and len(stored) == 10
    for blob in [content, *(path.read_bytes() for path in stored)]:
        assert CANARY.encode() not in blob


def test_bad_arguments_are_refused(uri: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="timeout_s is 0; allowed: more than 0"):
        make_tracker(uri, tmp_path, timeout_s=0)
    with pytest.raises(ValueError, match="artifact_root is None; allowed: a folder"):
        Tracker(uri, artifact_root=None, experiment="s", token="t", launch="l", params={}, tags={})


ODD_NAMES = [
    "a\udcffb",
    "nul\0",
    "<script>alert(1)</script>",
    "'; DROP TABLE runs;--",
    "%41 # ?",
    "\u202e",
]


@pytest.mark.usefixtures("strict")
@pytest.mark.parametrize("odd", ODD_NAMES)
def test_names_may_hold_any_characters(uri: str, tmp_path: Path, odd: str) -> None:
    """Data sets and classes are named by folders, whose names may be any bytes."""
    tracker = make_tracker(uri, tmp_path, tags={"dataset": odd}, params={"dataset": odd})
    trial = make_full_trial(tmp_path, name=odd, message=odd, params={"extractor": odd})
    tracker.sync(dataclasses.replace(trial, tags={"form": odd}))
    assert tracker.close("FINISHED") == []
    shown = odd.replace("\udcff", "?").replace("\0", "?")
    [parent], children = runs_of(uri)
    assert parent.data.tags["dataset"] == parent.data.params["dataset"] == shown
    run = children["7"]
    assert run.info.run_name == run.data.tags["message"] == run.data.tags["form"] == shown
    assert run.data.params["extractor"] == shown
