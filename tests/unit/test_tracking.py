import contextlib
import dataclasses
import io
import json
import os
import shutil
import socket
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import torch
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from diffrop import tracking
from diffrop.tracking import TrackedTrial, Tracker, redact, ui_command
from diffrop.training.checkpoint import Checkpoint, write_checkpoint

CANARY = "c4n4ry-s3cret"
TIME = 1_732_300_000.5


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database, copied by each test: the migrations take seconds, without a word."""
    folder = tmp_path_factory.mktemp("template")
    path = folder / "new folder" / "mlflow.db"
    printed = io.StringIO()
    with contextlib.redirect_stderr(printed), contextlib.redirect_stdout(printed):
        Tracker(
            f"sqlite:///{path}", artifact_root=folder, experiment="template", launch="template",
            params={}, tags={},
        )  # fmt: skip
    assert printed.getvalue() == ""
    return path


@pytest.fixture
def uri(tmp_path: Path, empty_database: Path) -> str:
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path}/mlflow.db"


@pytest.fixture
def strict() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def make_tracker(uri: str, tmp_path: Path, launch: str = "launch-1", **options: Any) -> Tracker:
    root = None if uri.startswith("http") else tmp_path / "art ifacts"
    defaults: dict[str, Any] = {"params": {"budget": 8}, "tags": {"git": "abc"}}
    return Tracker(
        uri, artifact_root=root, experiment="study", launch=launch, **(defaults | options)
    )


def make_trial(
    tmp_path: Path, number: int = 7, state: str = "RUNNING", **more: Any
) -> TrackedTrial:
    directory = tmp_path / "trials" / f"t{number:03d}"
    directory.mkdir(parents=True, exist_ok=True)
    values: dict[str, Any] = {
        "name": f"t{number:03d} reciprocal tau_0=3.2",
        "params": {"contrastive.tau_0": 3.2, "contrastive.form": "reciprocal", "long": "x" * 9000},
        "tags": {"form": "reciprocal", "seed": "0"},
        "message": "",
    }
    return TrackedTrial(number=number, directory=directory, state=state, **(values | more))


def add_lines(trial: TrackedTrial, start: int = 0, count: int = 3, end: str = "\n") -> None:
    lines = [
        json.dumps({
            "images_seen": 64 * (i + 1), "time": TIME + i, "loss/ddpm": 0.1 / (i + 1),
            "pcl/grad_ratio": None if i % 2 else 0.3, "images_per_s": 900 + i,
        })
        for i in range(start, start + count)
    ]  # fmt: skip
    with (trial.directory / "metrics.jsonl").open("a") as file:
        file.write("\n".join(lines) + end)


def add_score(trial: TrackedTrial, images: int, few: float, final: bool = True) -> None:
    def scores(shift: float) -> dict[str, float]:
        groups = {"all": 40.0, "many": 30.0, "medium": 50.0, "few": few}
        fids = {f"fid/{name}": value + shift for name, value in groups.items()}
        return fids | {"accuracy/all": 0.75}

    score = {
        "images_seen": images, "time": TIME + images, "objective": "fid/all", "value": 40.0,
        "omega": 0.5, "sampler": "ddim-10", "extractor": "classifier-digits",
        "num_samples": {"all": 1000, "many": 300, "medium": 300, "few": 300}, "final": final,
        "curve": [{"omega": 0.0, "scores": scores(9.0)}, {"omega": 0.5, "scores": scores(0.0)}],
    }  # fmt: skip
    folder = trial.directory / "scores"
    folder.mkdir(exist_ok=True)
    (folder / f"images_{images:012d}.json").write_text(json.dumps(score))


def add_checkpoint(trial: TrackedTrial, images: int) -> Path:
    path = trial.directory / "checkpoints" / f"images_{images:012d}.safetensors"
    card = {"images_seen": images, "data_digest": "d1ge57" * 9, "config": {}}
    tensors = {"ema.weight": torch.full((2,), float(images + trial.number))}
    write_checkpoint(path, Checkpoint(tensors, card))
    return path


def add_sample(trial: TrackedTrial, name: str = "images_000000000192.png") -> None:
    (trial.directory / "samples").mkdir(exist_ok=True)
    (trial.directory / "samples" / name).write_bytes(b"\x89PNG" + name.encode())


def make_full_trial(
    tmp_path: Path, number: int = 7, few: float = 60.0, **more: Any
) -> TrackedTrial:
    trial = make_trial(tmp_path, number, more.pop("state", "COMPLETE"), **more)
    add_lines(trial)
    add_score(trial, 192, few)
    add_sample(trial)
    add_checkpoint(trial, 192)
    return trial


def runs_of(uri: str) -> tuple[list[Run], dict[str, Run]]:
    """Parent runs, and child runs by trial number."""
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("study")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], order_by=["attributes.start_time"])
    children = [run for run in runs if "diffrop.trial" in run.data.tags]
    by_number = {run.data.tags["diffrop.trial"]: run for run in children}
    assert len(by_number) == len(children), "a trial has two runs"
    return [run for run in runs if "diffrop.trial" not in run.data.tags], by_number


def history(uri: str, run: Run, key: str) -> list[tuple[int, int, float]]:
    found = MlflowClient(uri).get_metric_history(run.info.run_id, key)
    return sorted((metric.step, metric.timestamp, metric.value) for metric in found)


def models_of(uri: str, **search: Any) -> list[Any]:
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("study")
    assert experiment is not None
    return list(client.search_logged_models([experiment.experiment_id], **search))


def snapshot(uri: str) -> list[Any]:
    """Everything that must not change when the same trial is synced again."""
    _, children = runs_of(uri)
    client = MlflowClient(uri)
    content = []
    for number, run in sorted(children.items()):
        keys = sorted(run.data.metrics)
        points = {key: history(uri, run, key) for key in keys}
        outputs = client.get_run(run.info.run_id).outputs
        linked = [output.model_id for output in outputs.model_outputs] if outputs else []
        info = (run.info.run_id, run.info.status, run.info.end_time, run.info.run_name)
        files = [item.path for item in client.list_artifacts(run.info.run_id, "samples")]
        content.append((number, info, run.data.params, run.data.tags, points, linked, files))
    models = [(m.model_id, m.status, len(m.metrics or [])) for m in models_of(uri)]
    return [*content, *sorted(models)]


@pytest.mark.usefixtures("strict")
def test_launch_and_trials_form_a_tree_with_params_tags_and_artifacts(
    uri: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    tracker = make_tracker(uri, tmp_path)
    tracker.sync(make_full_trial(tmp_path, 7))
    tracker.sync(make_full_trial(tmp_path, 8))
    report = tmp_path / "report.html"
    report.write_text("first")
    tracker.log_study_artifacts([report])
    report.write_text("second version")
    tracker.log_study_artifacts([report])
    assert tracker.close("FINISHED") == []
    assert capfd.readouterr() == ("", "")

    [parent], children = runs_of(uri)
    assert (parent.info.run_name, parent.info.status) == ("launch-1", "FINISHED")
    assert parent.data.params == {"budget": "8"}
    assert parent.data.tags["git"] == "abc"
    assert sorted(children) == ["7", "8"]
    run = children["7"]
    assert run.info.run_name == "t007 reciprocal tau_0=3.2"
    assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert run.data.tags["form"] == "reciprocal"
    assert run.data.params["contrastive.tau_0"] == "3.2"
    assert len(run.data.params["long"]) == 6000
    client = MlflowClient(uri)
    assert [f.path for f in client.list_artifacts(run.info.run_id, "samples")] == [
        "samples/images_000000000192.png"
    ]
    shown = Path(
        client.download_artifacts(parent.info.run_id, "report.html", str(tmp_path / "art ifacts"))
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
    assert history(uri, children["7"], "omega_curve/fid/few") == []
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
    assert history(uri, run, "fid/few") == [(64, when[0], 90.0), (384, when[1], 60.0)]
    assert history(uri, run, "num_samples/many")[0][2] == 300
    assert history(uri, run, "omega")[1] == (384, when[1], 0.5)
    assert history(uri, run, "score")[1] == (384, when[1], 40.0)
    curve = [(0, when[1], 69.0), (500, when[1], 60.0)]
    assert history(uri, run, "omega_curve/fid/few") == curve
    assert len(history(uri, run, "omega_curve/accuracy/all")) == 2
    assert tracker.close("FINISHED") == []


@pytest.mark.usefixtures("strict")
def test_half_a_line_waits_and_a_torn_one_is_skipped(uri: str, tmp_path: Path) -> None:
    tracker = make_tracker(uri, tmp_path)
    trial = make_trial(tmp_path)
    add_lines(trial, count=2)
    path = trial.directory / "metrics.jsonl"
    whole = '{"images_seen": 192, "time": 1732300009, "loss/ddpm": 5.0}\n'
    with path.open("a") as file:
        file.write(whole[:30])
    tracker.sync(trial)
    _, children = runs_of(uri)
    assert len(history(uri, children["7"], "loss/ddpm")) == 2
    with path.open("a") as file:
        file.write(whole[30:] + whole[:20] + whole)  # a crash, and the resumed trial goes on
    add_lines(trial, start=4, count=1)
    tracker.sync(trial)
    steps = [step for step, _, _ in history(uri, children["7"], "loss/ddpm")]
    assert steps == [64, 128, 192, 320]


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
    client.delete_tag(runs_of(uri)[1]["7"].info.run_id, "diffrop.synced")
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
    assert children["8"].data.tags["mlflow.parentRunId"] == parents[1].info.run_id
    assert len(history(uri, children["7"], "loss/ddpm")) == 6
    assert len(models_of(uri)) == 1


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


def test_unknown_state_and_status_are_refused(uri: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="state is 'WAITING'; allowed: RUNNING, COMPLETE"):
        make_trial(tmp_path, state="WAITING")
    with pytest.raises(ValueError, match="allowed: FINISHED, FAILED, KILLED"):
        make_tracker(uri, tmp_path).close("RUNNING")


@pytest.mark.usefixtures("strict")
def test_models_are_found_in_the_order_of_their_few_shot_fid(uri: str, tmp_path: Path) -> None:
    tracker = make_tracker(uri, tmp_path)
    for number, few in ((1, 80.0), (2, 30.0), (3, 55.0)):
        tracker.sync(make_full_trial(tmp_path, number, few))
    tracker.sync(make_full_trial(tmp_path, 4, few=1.0, state="PRUNED"))
    assert tracker.close("FINISHED") == []

    order = [{"field_name": "metrics.fid", "dataset_name": "few", "ascending": True}]
    models = models_of(uri, order_by=order)
    assert [model.name for model in models] == ["t002", "t003", "t001"]
    best = models[0]
    fids = {metric.dataset_name: metric.value for metric in best.metrics}
    assert fids == {"all": 40.0, "many": 30.0, "medium": 50.0, "few": 30.0}
    assert {metric.dataset_digest for metric in best.metrics} == {"d1ge57d1ge57"}
    assert {metric.step for metric in best.metrics} == {192}
    assert str(best.status) == "READY"
    assert best.source_run_id == runs_of(uri)[1]["2"].info.run_id
    assert best.params["form"] == "reciprocal"
    assert best.tags["images_seen"] == "192"
    assert len(best.tags["sha256"]) == 64
    folder = Path(best.artifact_location.removeprefix("file://").replace("%20", " "))
    assert sorted(path.name for path in folder.iterdir()) == [
        "card.json", "images_000000000192.safetensors"
    ]  # fmt: skip
    assert json.loads((folder / "card.json").read_text())["images_seen"] == 192


def closed_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


def run_launch_against_dead_server(uri: str, tmp_path: Path) -> tuple[float, list[str], list[str]]:
    """Seconds, what is missing, and the warnings of a launch with two trials."""
    start = time.monotonic()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        tracker = make_tracker(uri, tmp_path, timeout_s=1.0)
        for number in (7, 8):
            tracker.sync(make_full_trial(tmp_path, number))
        (tmp_path / "trials.csv").write_text("a")
        tracker.log_study_artifacts([tmp_path / "trials.csv"])
        missing = tracker.close("FINISHED")
    return time.monotonic() - start, missing, [str(item.message) for item in caught]


def test_dead_port_costs_seconds_and_one_warning(tmp_path: Path) -> None:
    uri = f"http://user:{CANARY}@127.0.0.1:{closed_port()}"
    seconds, missing, warned = run_launch_against_dead_server(uri, tmp_path)
    assert seconds < 5
    assert len(warned) == 1
    assert "cannot log the launch to MLflow at http://***@127.0.0.1" in warned[0]
    assert len(missing) == 4
    for what in ("the launch", "trial 7", "trial 8", f"the artifact {tmp_path}/trials.csv"):
        assert any(sentence.startswith(f"{what} is not completely") for sentence in missing)
    assert CANARY not in "".join(missing + warned)


def test_server_that_never_answers_is_given_up(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        accepted: list[socket.socket] = []
        threading.Thread(target=accept_all, args=(server, accepted), daemon=True).start()
        uri = f"http://127.0.0.1:{server.getsockname()[1]}"
        seconds, missing, warned = run_launch_against_dead_server(uri, tmp_path)
        server.shutdown(socket.SHUT_RDWR)
    assert accepted, "nobody called"
    assert 1 < seconds < 8  # a timeout of 1 s in the constructor, and one more in close
    assert len(warned) == 1
    assert len(missing) == 4


def accept_all(server: socket.socket, accepted: list[socket.socket]) -> None:
    while True:
        try:
            accepted.append(server.accept()[0])
        except OSError:
            return


DOWN = MlflowException(f"API request to http://u:{CANARY}@host/api failed")
RESET = requests.ConnectionError("connection reset by peer")


@pytest.mark.parametrize(
    ("method", "error"),
    [
        ("log_batch", DOWN),
        ("create_run", RESET),
        ("log_artifact", RESET),
        ("create_logged_model", DOWN),
        ("set_tag", DOWN),
    ],
)
def test_everything_is_present_after_the_server_recovered(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, error: Exception
) -> None:
    monkeypatch.setattr(tracking, "BACK_OFF_S", 0.0)
    real: Callable[..., Any] = getattr(MlflowClient, method)
    calls = iter(range(1000))

    def flaky(*args: Any, **kwargs: Any) -> Any:
        """Fail twice, the second time only after the request was carried out."""
        call = next(calls)
        if call == 1:
            real(*args, **kwargs)
        if call < 2:
            raise error
        return real(*args, **kwargs)

    trials = [make_full_trial(tmp_path, number) for number in (7, 8)]
    monkeypatch.setattr(MlflowClient, method, flaky)
    with pytest.warns(UserWarning, match="nothing is lost") as caught:
        tracker = make_tracker(uri, tmp_path)
        for trial in (dataclasses.replace(trials[0], state="RUNNING"), *trials):
            tracker.sync(trial)
        assert tracker.close("FINISHED") == []
    ours = [str(item.message) for item in caught if item.category is UserWarning]
    assert len(ours) == 1
    assert CANARY not in ours[0]
    [parent], children = runs_of(uri)
    assert parent.info.status == "FINISHED"
    for run in children.values():
        assert run.info.status == "FINISHED"
        assert {step for step, _, _ in history(uri, run, "loss/ddpm")} == {64, 128, 192}
        assert len(MlflowClient(uri).list_artifacts(run.info.run_id, "samples")) == 1
    assert sorted(children) == ["7", "8"]
    assert len(models_of(uri)) == 2


def test_after_a_fault_mlflow_is_left_alone_for_a_while(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = make_tracker(uri, tmp_path)
    calls = []

    def fail(*args: Any, **kwargs: Any) -> None:
        calls.append(1)
        raise MlflowException("down")

    monkeypatch.setattr(MlflowClient, "log_batch", fail)
    with pytest.warns(UserWarning, match="down"):
        trial = make_full_trial(tmp_path)
        for _ in range(5):
            tracker.sync(trial)
    assert len(calls) == 1


def test_damaged_file_of_one_trial_does_not_hold_up_the_others(uri: str, tmp_path: Path) -> None:
    tracker = make_tracker(uri, tmp_path)
    damaged = make_full_trial(tmp_path, 7)
    (damaged.directory / "scores" / "images_000000000192.json").write_text('{"images_seen": 1')
    cut = make_full_trial(tmp_path, 9)
    checkpoint = add_checkpoint(cut, 256)
    checkpoint.write_bytes(checkpoint.read_bytes()[:20])
    with pytest.warns(UserWarning) as caught:
        tracker.sync(damaged)
        tracker.sync(cut)
        tracker.sync(make_full_trial(tmp_path, 8))
        missing = tracker.close("FINISHED")
    assert ["trial 7" in str(w.message) for w in caught] == [True, False]
    assert ["trial 9" in str(w.message) for w in caught] == [False, True]
    assert len(missing) == 2
    assert "trial 7" in missing[0] and "is no complete score file" in missing[0]
    _, children = runs_of(uri)
    assert children["7"].info.status == "FINISHED"
    assert len(history(uri, children["7"], "loss/ddpm")) == 3
    assert len(history(uri, children["8"], "fid/few")) == 1
    assert [model.name for model in models_of(uri)] == ["t008"]


def test_missing_study_artifact_is_reported(uri: str, tmp_path: Path) -> None:
    tracker = make_tracker(uri, tmp_path)
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "fid.png").write_bytes(b"png")
    with pytest.warns(UserWarning, match="does not exist"):
        tracker.log_study_artifacts([tmp_path / "gone.html", tmp_path / "figures"])
    [sentence] = tracker.close("FINISHED")
    assert "gone.html does not exist" in sentence
    [parent], _ = runs_of(uri)
    found = MlflowClient(uri).list_artifacts(parent.info.run_id, "figures")
    assert [item.path for item in found] == ["figures/fid.png"]


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        (f"postgresql://user:{CANARY}@host:5432/db", "postgresql://***@host:5432/db"),
        (f"postgresql+psycopg://u:a/b@{CANARY}?#@host/db", "postgresql+psycopg://***@host/db"),
        (
            f"postgresql://host/db?user=u&password={CANARY}&x=1",
            "postgresql://host/db?user=u&password=***&x=1",
        ),
        (f"https://{CANARY}@host/path", "https://***@host/path"),
        ("sqlite:////home/a@b/mlflow.db", "sqlite:////home/a@b/mlflow.db"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
    ],
)
def test_redact_hides_credentials_only(uri: str, expected: str) -> None:
    assert redact(uri) == expected
    assert CANARY not in ui_command(uri)


def test_ui_command_can_be_pasted() -> None:
    expected = "mlflow ui --backend-store-uri 'sqlite:////a b/m.db' --host 127.0.0.1"
    assert ui_command("sqlite:////a b/m.db") == expected
    assert ui_command("http://127.0.0.1:5000") == "open http://127.0.0.1:5000"


def test_credentials_reach_neither_tags_nor_params_nor_artifacts(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = f"postgresql://user:{CANARY}@host/db"
    tracker = make_tracker(
        uri, tmp_path, launch=f"l {secret}", params={"uri": secret}, tags={"uri": secret}
    )
    trial = make_full_trial(
        tmp_path, name=f"t007 {secret}", params={"storage": secret}, tags={"form": secret},
        message=f"cannot reach {secret}",
    )  # fmt: skip
    tracker.sync(trial)
    monkeypatch.setattr(tracker, "_uri", secret)
    assert tracker._clean(f"password {CANARY} refused") == "password *** refused"
    assert tracker.close("FINISHED") == []
    content = (tmp_path / "mlflow.db").read_bytes()
    stored = [path for path in (tmp_path / "art ifacts").rglob("*") if path.is_file()]
    assert b"t007" in content and len(stored) == 3
    for blob in [content, *(path.read_bytes() for path in stored)]:
        assert CANARY.encode() not in blob


@pytest.mark.parametrize(
    "uri",
    [
        "file:/tmp/mlruns", "file:///tmp/mlruns", "/tmp/mlruns", "mlruns", "", "databricks",
        f"mysql://user:{CANARY}@host/db", "HTTP://127.0.0.1:5000", "SQLITE:////tmp/mlflow.db",
        f"gopher://user:{CANARY}@host", "sqlite://",
        "sqlite:///relative.db", "sqlite:///:memory:", "http://", f"http://u:{CANARY}/@host",
        f"http://user:{CANARY}@host:port", f"postgresql://user:{CANARY}@host",
        f"postgresql://user:{CANARY}@host:port/db", "http://[::1",
    ],
)  # fmt: skip
def test_other_uris_are_refused_by_naming_the_allowed(uri: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"allowed: sqlite:////absolute/path\.db, http") as caught:
        make_tracker(uri, tmp_path)
    assert CANARY not in str(caught.value)
    assert caught.value.__cause__ is None and caught.value.__context__ is None


def test_database_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no database, but text")
    for path in (tmp_path / "file" / "mlflow.db", tmp_path / "file"):
        with pytest.raises(ValueError, match="allowed: an SQLite database, or a new file"):
            make_tracker(f"sqlite:///{path}", tmp_path)
    (tmp_path / "damaged.db").write_bytes(b"SQLite format 3\0" + b"\xff" * 5000)
    with pytest.raises(ValueError, match="MLflow cannot open it"):
        make_tracker(f"sqlite:///{tmp_path}/damaged.db", tmp_path)


def test_bad_arguments_are_refused(uri: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="timeout_s is 0; allowed: more than 0"):
        make_tracker(uri, tmp_path, timeout_s=0)
    with pytest.raises(ValueError, match="artifact_root is None; allowed: a folder"):
        Tracker(uri, artifact_root=None, experiment="s", launch="l", params={}, tags={})


def test_environment_is_left_as_it_was(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "77")
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", raising=False)
    tracker = make_tracker(uri, tmp_path)
    tracker.sync(make_full_trial(tmp_path))
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "77"
    assert "MLFLOW_HTTP_REQUEST_MAX_RETRIES" not in os.environ
    assert os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] == "false"
