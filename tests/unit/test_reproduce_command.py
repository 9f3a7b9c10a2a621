"""What `diffrop reproduce` prints makes the same study again."""

import dataclasses
import hashlib
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from diffrop.commands.study_tau import COMMAND
from diffrop.main import run
from diffrop.provenance import differences, environment
from diffrop.record.settings import read_settings
from diffrop.record.study_store import StudyStore
from diffrop.study.config import LaunchConfig, StudyConfig
from tests.made.small import small_experiment, small_study

CHANGES = b"diff --git a/x b/x\n\xff"
TYPED = "diffrop study tau --trials 3 --study-name=s --resume"
MY_SPACE = """
parameters:
  contrastive.form: {choices: [hinge, exponential], source: the paper's Table 5}
  contrastive.tau_0: {low: 1, high: 100, log: true, source: "é, 1 to 10 %: a guess",
                      prior: 3, confidence: low}
  contrastive.margin: {low: 1.0, high: 1.05, when: {contrastive.form: [hinge]}, source: a guess}
  model.channel_multipliers: {choices: [[1], [1, 2]], source: a list}
  model.dropout: {low: 0.0, high: 0.3, source: none at all}
"""


def launched(
    patch: pytest.MonkeyPatch, changes: bytes = CHANGES, **made_by: Any
) -> dict[str, Any]:
    """Have the next launch run with these changes, on what is here but for some of it."""
    digest = hashlib.sha256(changes).hexdigest() if changes else ""
    known = {"git_commit": "0" * 40 + "+changes", "git_changes": digest, "git_untracked": []}
    found = environment() | known | made_by
    patch.setattr("diffrop.record.study_store.git_changes", lambda: changes)
    patch.setattr("diffrop.record.study_store.environment", lambda: found)
    return found


def made_study(root: Path, command: str = TYPED, config: StudyConfig | None = None) -> StudyStore:
    store = StudyStore(root, "s")
    store.create(config or small_study(), command, LaunchConfig(runs_root=str(root)), {})
    return store


def resumed(store: StudyStore, command: str = TYPED) -> None:
    launch = LaunchConfig(runs_root=str(store.path.parent), resume=True)
    store.resume(small_study(), command, launch, {})


def printed(root: Path, capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    capsys.readouterr()
    assert run(["reproduce", "s", "--runs-root", str(root), *words], "diffrop") == 0
    return capsys.readouterr().out.splitlines()


def without_files(lines: list[str]) -> list[str]:
    """Return the lines that come before and after the files that they write."""
    starts = [i for i, line in enumerate(lines) if line.startswith("cat > ")]
    ends = [i for i, line in enumerate(lines) if line == "END"]
    return [*lines[: starts[0]], *lines[ends[-1] + 1 :]]


def test_study_keeps_what_it_ran_on_and_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    there = launched(monkeypatch, cpu="Another", git_untracked=["diffrop/own.py"])
    store = made_study(tmp_path)
    assert store.read_config() == small_study()
    assert read_settings(store.folder)["environment"] == there
    assert store.folder.changes.read_bytes() == CHANGES
    assert without_files(printed(tmp_path, capsys)) == [
        f"git worktree add --detach ../small-again {'0' * 40}",
        "cd ../small-again",
        f"git apply {store.folder.changes}",
        "# Neither commit nor changes have these files, which git did not track:",
        "# diffrop/own.py",
        "make setup",
        "source .venv/bin/activate",
        "diffrop study tau --trials 3 --study-name small-again --space space.yaml",
        "",
        "What differs here:",
        *(f"  {line}" for line in differences(there, environment())),
    ]
    assert f"cpu: Another there, {environment()['cpu']} here" in differences(there, environment())


def test_files_that_a_command_names_are_made_again_of_the_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    launched(monkeypatch)
    (tmp_path / "typed").mkdir()
    monkeypatch.chdir(tmp_path / "typed")
    Path("my_space.yaml").write_text(MY_SPACE, "utf-8")
    points = "- {contrastive.form: hinge, contrastive.margin: 1.02}\n- {contrastive.tau_0: 7}\n"
    Path("my_points.yaml").write_text(points)
    words = ["--space", "my_space.yaml", "--points=my_points.yaml", "--trials", "30"]
    words += ["--data-root", "photos", "--fork-from", "c.safetensors", "--study-name", "s1"]
    words += ["--constraint", "fid/many <= baseline + 5%"]

    def config_of(typed: list[str]) -> StudyConfig:
        args = COMMAND.parser("diffrop study tau").parse_args([*typed, "--gpus-per-worker", "0"])
        return COMMAND.configs(args, {})[0]

    config = config_of(words)
    made_study(tmp_path, shlex.join(["python", "studies/run_tau_sweep.py", *words]), config)
    lines = printed(tmp_path, capsys)
    Path("my_space.yaml").unlink()
    Path("my_points.yaml").unlink()

    (tmp_path / "s1-again").mkdir()
    monkeypatch.chdir(tmp_path / "s1-again")
    begin = next(i for i, line in enumerate(lines) if line.startswith("cat > "))
    end = next(i for i, line in enumerate(lines) if line.startswith("python studies/"))
    subprocess.run(["bash", "-e", "-c", "\n".join(lines[begin:end])], check=True)
    again = config_of(shlex.split(lines[end])[2:])
    assert again.name == "s1-again"
    assert again.to_dict() | {"name": "s1"} == config.to_dict()
    assert again.experiment.data.root == str(tmp_path / "typed" / "photos")
    assert again.fork_from == str(tmp_path / "typed" / "c.safetensors")
    assert len(again.points) == 2 and len(again.space.parameters) == 5


def test_what_no_commit_has_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    launched(monkeypatch)
    experiment = small_experiment(evaluation__extractor="mine:make")
    config = dataclasses.replace(small_study(warm_start=["earlier"]), experiment=experiment)
    made_study(tmp_path, config=config)
    text = "\n".join(printed(tmp_path, capsys))
    assert f"copy them into its runs folder: {tmp_path / 'earlier'}" in text
    assert "# Its extractor is code of its own: mine:make" in text


def test_study_of_an_installed_package_is_made_again_with_that_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    packages = {"diffrop-studies": "0.7.1"}
    launched(monkeypatch, b"", git_commit="unknown", packages=packages)
    made_study(tmp_path)
    lines = without_files(printed(tmp_path, capsys))
    assert "python -m pip install diffrop-studies==0.7.1" in lines
    assert "mkdir small-again && cd small-again" in lines
    assert not any(line.startswith(("git ", "make ")) for line in lines)


def test_each_launch_keeps_its_machine_and_its_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    launched(monkeypatch, cpu="First")
    store = made_study(tmp_path)
    launched(monkeypatch, b"other changes", cpu="Second")
    resumed(store, f"{TYPED} --confirm 3")
    launched(monkeypatch, b"", git_commit="1" * 40, cpu="Third")
    resumed(store)
    lines = printed(tmp_path, capsys)
    assert f"git worktree add --detach ../small-again {'1' * 40}" in lines
    assert not any(line.startswith("git apply") for line in lines)
    assert lines[-1] == (
        "Of its 3 launches these ran on something else: 1, 2; --launch N prints one."
    )
    for number, changes, cpu in ((1, CHANGES, "First"), (2, b"other changes", "Second")):
        lines = printed(tmp_path, capsys, "--launch", str(number))
        (applied,) = [line for line in lines if line.startswith("git apply")]
        assert Path(shlex.split(applied)[-1]).read_bytes() == changes
        assert any(line.startswith(f"  cpu: {cpu} there") for line in lines)
        (command,) = [line for line in lines if line.startswith("diffrop study")]
        assert ("--confirm 3" in command) is (number == 2)
    with pytest.raises(SystemExit):
        run(["reproduce", "s", "--runs-root", str(tmp_path), "--launch", "4"], "diffrop")
    assert "--launch is 4; allowed: 1 to 3" in capsys.readouterr().err


def test_large_changes_are_told_by_their_hash_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    launched(monkeypatch)
    monkeypatch.setattr("diffrop.record.launches.MAX_CHANGES", len(CHANGES) - 1)
    store = made_study(tmp_path)
    assert not store.folder.changes.exists()
    text = "\n".join(printed(tmp_path, capsys))
    assert "too large" in text and hashlib.sha256(CHANGES).hexdigest() in text


def test_study_of_an_earlier_version_says_what_is_not_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    launched(monkeypatch, b"")
    store = made_study(tmp_path)
    lines = store.folder.config.read_text("utf-8").splitlines(keepends=True)
    begin = lines.index("environment:\n")
    store.folder.config.write_text("".join(lines[1:begin]), "utf-8")
    store.folder.launches.unlink()
    text = "\n".join(printed(tmp_path, capsys))
    assert "The commit is not known" in text and "neither packages nor machine" in text
