import os
import pickle
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyarrow.fs import FileInfo, FileSelector, FileSystem, FileType

from diffrop.engine.stop_signal import StopSignal
from diffrop.errors import CheckpointError, StorageError
from diffrop.execution.trial import run_trial
from diffrop.record.trial_folder import TrialFolder
from diffrop.scoring.samples import ScoringInputs
from diffrop.storage import (
    RemoteMirror,
    sweep_temporaries,
    temporary_beside,
    write_atomically,
)
from diffrop.training.garbage import collect_garbage
from diffrop.training.stop import StopNotice, withdraw_stop
from diffrop.training.store import CheckpointStore
from tests.made.checkpoints import checkpoint, damage, identity
from tests.made.faults import fault
from tests.made.small import small_inputs, small_task
from tests.made.trainings import CPU

BUCKET = "studies"


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that speaks S3 on loopback, with one bucket; its URI."""
    server = pytest.importorskip("moto.server", reason="moto[s3] is not installed")
    keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "canary-secret"}
    thread = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    thread.start()
    host, port = thread.get_host_and_port()
    uri = f"s3://{BUCKET}/runs?endpoint_override={host}:{port}&scheme=http&region=us-east-1"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in keys.items():
            patch.setenv(name, value)
        create = uri.replace("?", "?allow_bucket_creation=true&")
        system, path = FileSystem.from_uri(create)
        system.create_dir(path.split("/")[0])
        yield uri
    thread.stop()


@pytest.fixture(params=["file", "s3"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "file":
        return (tmp_path / "remote/runs").as_uri()
    base: str = request.getfixturevalue("s3")
    return base.replace("/runs?", f"/{tmp_path.name}?")


def mirrors(uri: str, tmp_path: Path) -> tuple[RemoteMirror, RemoteMirror]:
    """Two nodes that share nothing but the remote storage."""
    roots = tmp_path / "node1/runs", tmp_path / "node2/runs"
    for root in roots:
        root.mkdir(parents=True)
    return RemoteMirror(uri, roots[0]), RemoteMirror(uri, roots[1])


def test_what_one_node_pushes_another_pulls(uri: str, tmp_path: Path) -> None:
    one, two = mirrors(uri, tmp_path)
    one.check()
    folder = one.root / "a/t000"
    write_atomically(folder / "scores/x.json", "first")
    write_atomically(folder / "log", "line\n")
    (folder / "link").symlink_to(one.root, target_is_directory=True)
    (folder / "study.lock").touch()
    (folder / ".log.1.tmp").touch()
    assert one.push(folder) == [folder / "log", folder / "scores/x.json"]
    assert one.push(folder) == []
    there = two.root / "a/t000"
    assert two.pull(there) == [there / "log", there / "scores/x.json"]
    assert two.pull(there) == []
    assert (there / "scores/x.json").read_text() == "first"
    assert sorted(path.name for path in there.iterdir()) == ["log", "scores"]
    assert two.names(there) == ["log"] and two.exists(there / "log")
    assert two.pull(two.root / "b") == [] and two.names(two.root / "b") == []


def test_later_version_counts_and_what_is_deleted_stays_away(uri: str, tmp_path: Path) -> None:
    one, two = mirrors(uri, tmp_path)
    write_atomically(one.root / "a/log", "line\n")
    one.push(one.root / "a")
    two.pull(two.root / "a")
    later = (two.root / "a/log").stat().st_mtime + 5  # S3 knows whole seconds only
    with (two.root / "a/log").open("a") as file:
        file.write("other\n")
    os.utime(two.root / "a/log", (later, later))
    assert two.push(two.root / "a") == [two.root / "a/log"]
    seen = (one.root / "a/log").stat().st_mtime - 5
    os.utime(one.root / "a/log", (seen, seen))  # as if some time had passed
    one.pull(one.root / "a")
    assert (one.root / "a/log").read_text() == "line\nother\n"
    one.delete(one.root / "a/log")
    one.delete(one.root / "a/log")
    assert not two.exists(two.root / "a/log")
    two.push(two.root / "a")
    one.delete(one.root / "a")
    assert not two.exists(two.root / "a/log")


@fault(44, "an upload that fails")
def test_failed_upload_leaves_the_earlier_version(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = mirrors(uri, tmp_path)
    write_atomically(one.root / "a/x", "first")
    one.push(one.root / "a")
    write_atomically(one.root / "a/x", "second, longer")

    def die(source: object, sink: object, length: int) -> None:
        raise OSError(5, "the line is cut")

    with monkeypatch.context() as patch:
        patch.setattr("shutil.copyfileobj", die)
        with pytest.raises(StorageError, match=r"cannot be written to .*the line is cut"):
            one.push(one.root / "a")
    two.pull(two.root / "a")
    assert (two.root / "a/x").read_text() == "first"
    assert two.names(two.root / "a") == ["x"]


@fault(44, "a storage that refuses")
def test_bad_storage_is_refused_before_anything_relies_on_it(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"storage URI .* allowed: s3://bucket/folder"):
        RemoteMirror("nowhere://x", tmp_path).check()
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(StorageError, match=r"the storage local:.*cannot be"):
        RemoteMirror((file / "below").as_uri(), tmp_path).check()
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        dead = f"127.0.0.1:{unused.getsockname()[1]}"
        uri = f"s3://key:canary-secret@{BUCKET}/runs?endpoint_override={dead}&scheme=http"
        with pytest.raises(StorageError, match="the storage s3:studies/runs") as caught:
            RemoteMirror(uri, tmp_path).check()
    assert "canary-secret" not in str(caught.value)


@fault(24, "names in a remote storage")
def test_names_that_lead_out_of_the_folder_are_not_pulled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Hostile:  # an object store takes any name
        def get_file_info(self, asked: object) -> object:
            if isinstance(asked, FileSelector):
                return [FileInfo("a/../../escaped", FileType.File)]
            return FileInfo("a", FileType.Directory)

    mirror = RemoteMirror("s3://bucket", tmp_path)
    monkeypatch.setitem(mirror.__dict__, "_remote", Hostile())
    assert mirror.pull(mirror.root / "a") == []


def test_training_goes_on_where_another_node_left_it(uri: str, tmp_path: Path) -> None:
    one, two = mirrors(uri, tmp_path)
    first = CheckpointStore(one.root / "checkpoints", one).open(identity(), keep=2)
    first.pin("study", [64])
    for images in (64, 96, 128, 160):
        first.save(images, checkpoint(images, images))
        first.push()
    assert first.images() == [64, 128, 160]
    store = pickle.loads(pickle.dumps(CheckpointStore(two.root / "checkpoints", two)))
    second = store.open(identity(), keep=2)
    assert second.files() == [] and second.images() == [64, 128, 160]
    assert second.pins() == {"study": [64]}
    newest = second.newest()
    assert newest is not None and newest.tensors["model.a"][0, 0] == 160
    assert [path.name for path in second.files()] == ["images_000000000160.safetensors"]
    damage(second.path_of(160), "flip")
    with pytest.warns(UserWarning, match="the one before it is used"):
        newest = second.newest()
    assert newest is not None and newest.tensors["model.a"][0, 0] == 128
    second.save(192, checkpoint(192.0, 192))
    second.push()
    assert second.images() == [64, 160, 192]
    removed = collect_garbage(store, "study", [])
    assert len(removed.files) == 3 and second.images() == []
    with pytest.raises(CheckpointError, match="not a readable checkpoint"):
        CheckpointStore(tmp_path / "node3/runs/checkpoints").folder(second.key).read(192)


@pytest.fixture(scope="module")
def inputs() -> ScoringInputs:
    return small_inputs()


def test_trial_moves_to_a_node_that_shares_no_disk(
    uri: str, tmp_path: Path, inputs: ScoringInputs
) -> None:
    one, two = mirrors(uri, tmp_path)
    reports: list[dict[str, object]] = []

    def die(result: dict[str, object]) -> None:
        raise InterruptedError

    store = CheckpointStore(one.root / "checkpoints", one)
    with pytest.raises(InterruptedError):  # scored at the first rung, then the node is lost
        run_trial(small_task(one.root / "study/trials/t000", store=store), inputs, CPU, die)
    task = small_task(
        two.root / "study/trials/t000", store=CheckpointStore(two.root / "checkpoints", two)
    )
    run_trial(task, inputs, CPU, reports.append)
    alone = small_task(tmp_path / "alone/study/t000")
    whole: list[dict[str, object]] = []
    run_trial(alone, inputs, CPU, whole.append)
    assert reports == whole
    segments = task.store.folder(task.key).record.segments()
    assert [(segment.begin, segment.end) for segment in segments] == [(0, 64), (64, 128)]

    driver = RemoteMirror(uri, tmp_path / "driver/runs")
    driver.root.mkdir(parents=True)
    results = CheckpointStore(driver.root / "checkpoints", driver)
    found = driver.root / "study/trials/t000"
    results.pull_trial(TrialFolder(found))
    assert TrialFolder(found).scores() == task.folder.scores()
    assert len((found / "training/metrics.jsonl").read_text().splitlines()) == 4
    assert results.folder(task.key).files() == []  # weights stay where they are
    assert results.folder(task.key).images() == [64, 128]


def test_request_to_stop_reaches_nodes_that_share_no_disk(uri: str, tmp_path: Path) -> None:
    one, two = mirrors(uri, tmp_path)
    (one.root / "study").mkdir()

    def notice(mirror: RemoteMirror, driver: str = "one") -> StopNotice:
        return StopNotice(mirror.root / "study", mirror, driver)

    stop = StopSignal(one.root / "study", "one", one)
    with stop.watched():
        assert not notice(two).requested()
        os.kill(os.getpid(), signal.SIGTERM)
        deadline = time.monotonic() + 30
        while not two.exists(two.root / "study/stop.one"):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert notice(one).requested() and notice(two).requested()
        assert not notice(two, "another").requested()
        one.push(write(one.root / "study/stop.killed"))
    assert not two.exists(two.root / "study/stop.one")
    assert not notice(one).requested()
    host = write(one.root / f"study/stop-{socket.gethostname()}")
    for file in (write(one.root / "study/stop"), host):
        one.push(file)
        assert notice(two, "another").requested()
        withdraw_stop(two.root / "study", two)
        assert notice(two, "another").requested() == (file is host)
    assert one.names(one.root / "study") == [host.name]


def write(path: Path) -> Path:
    write_atomically(path, "")
    return path


def test_failed_write_leaves_the_file_as_it_was_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.json"
    write_atomically(path, "before")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "half \ud800 written")

    def full(opened: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, "after")
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]
    assert path.read_text() == "before"


def test_file_and_folder_are_synced_in_that_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = []
    sync = os.fsync

    def noted(opened: int) -> None:
        synced.append(Path(f"/proc/self/fd/{opened}").readlink())
        sync(opened)

    monkeypatch.setattr(os, "fsync", noted)
    write_atomically(tmp_path / "a.json", "text")
    assert synced[0].name.startswith(".a.json.") and synced[1:] == [tmp_path]


def test_folder_in_the_place_of_a_file_is_set_aside(tmp_path: Path) -> None:
    for number in range(2):
        (tmp_path / "a.json").mkdir()
        (tmp_path / "a.json" / "inside").touch()
        write_atomically(tmp_path / "a.json", str(number))
        assert (tmp_path / "a.json").read_text() == str(number)
        (tmp_path / "a.json").unlink()
    kept = sorted(path.name for path in tmp_path.iterdir())
    assert kept == ["a.json.damaged", "a.json.damaged-2"]


def test_only_temporary_files_are_swept(tmp_path: Path) -> None:
    others = [".hidden", ".tmp", ".tmp.json", "a.json", ".a.json.tmp"]
    for name in others:
        (tmp_path / name).touch()
    (tmp_path / ".tmpFolder").mkdir()
    young, old = temporary_beside(tmp_path / "a.json"), tmp_path / ".tmpl1mfOJ"
    for path in (young, old):
        path.touch()
    os.utime(old, (0, 0))
    sweep_temporaries(tmp_path, older_than_s=3600)
    assert young.exists() and not old.exists()
    sweep_temporaries(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*others, ".tmpFolder"])
    sweep_temporaries(tmp_path / "missing")
