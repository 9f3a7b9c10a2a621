import re
import shutil
import subprocess
import sys
from importlib.metadata import distributions, version
from pathlib import Path

import pytest
import torch

from diffrop import provenance
from diffrop.checkpoint_file import read_checkpoint, write_checkpoint
from diffrop.data import load_dataset
from diffrop.provenance import PACKAGES, differences, environment, git_commit, package_versions
from diffrop.training.trainer import Trainer
from tests.made.small import ROOT, small_experiment


def test_every_package_has_its_version() -> None:
    found = package_versions()
    assert found.keys() == {"python", *PACKAGES}
    assert found["torch"] == version("torch")


def test_commit_is_a_hash_or_unknown() -> None:
    assert re.fullmatch(r"[0-9a-f]{40}(\+changes)?|unknown", git_commit())


def test_environment_names_all_packages_and_the_machine() -> None:
    environment.cache_clear()  # another test may have changed the number of threads
    found = environment()
    assert set(found["packages"]) == {each.name for each in distributions() if each.name}
    assert found["packages"]["torch"] == version("torch")
    assert found["python"] == sys.version.split()[0]
    assert found["threads"]["torch"] == torch.get_num_threads()
    assert found["cpu"] and found["num_cpus"] >= 1 and isinstance(found["gpus"], list)
    assert re.fullmatch(r"[0-9a-f]{64}|", found["git_changes"])


@pytest.mark.skipif(shutil.which("git") is None, reason="there is no git")
def test_changes_make_the_commit_what_ran_and_another_project_is_not_recorded(
    tmp_path: Path,
) -> None:
    """In a checkout with a change, and in a wheel's folder inside another project's checkout."""
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); from diffrop import provenance as p; "
        "names = p.environment()['git_untracked']; "
        "sys.stdout.buffer.write(','.join(names).encode() + b'\\n')"
        "; sys.stdout.buffer.write(p.git_commit().encode() + b'\\n' + p.git_changes())"
    )

    def git(*words: str) -> bytes:
        given = ["-c", "user.name=a", "-c", "user.email=a@b"]
        command = ["git", *given, *words]
        return subprocess.run(command, cwd=tmp_path, check=True, capture_output=True).stdout

    def found() -> list[bytes]:
        command = [sys.executable, "-c", program, str(tmp_path)]
        return subprocess.run(command, check=True, capture_output=True).stdout.split(b"\n", 2)

    package = tmp_path / "diffrop"
    package.mkdir()
    for name in ("__init__.py", "provenance.py"):
        shutil.copyfile(ROOT / "diffrop" / name, package / name)
    git("init", "--quiet")
    git("commit", "--quiet", "--allow-empty", "-m", "x")
    assert found() == [b"", b"unknown", b""]
    git("add", ".")
    git("commit", "--quiet", "-m", "y")
    head = git("rev-parse", "HEAD").strip()
    assert found() == [b"", head, b""]
    changed = (package / "provenance.py").read_text("utf-8") + "# edited: é\n"
    (package / "provenance.py").write_text(changed, "utf-8")
    (package / "losses").mkdir()
    for name in ("own.py", "é.py", "notes.txt"):
        (package / "losses" / name).touch()
    (tmp_path / "other.py").touch()
    untracked, commit, changes = found()
    assert untracked.decode() == "diffrop/losses/own.py,diffrop/losses/é.py"
    assert commit == head + b"+changes"
    git("checkout", "--quiet", ".")
    subprocess.run(["git", "apply", "-"], cwd=tmp_path, input=changes, check=True)
    assert (package / "provenance.py").read_text("utf-8") == changed


def test_differences_are_named_with_both_sides() -> None:
    there = {"python": "3.11.1", "gpus": ["A, driver 5"], "packages": {"a": "1", "b": "2"}}
    here = {"python": "3.11.1", "gpus": [], "packages": {"b": "3", "c": "4"}}
    assert differences(there, here) == [
        "gpus: A, driver 5 there, none here",
        "a: 1 there, none here",
        "b: 2 there, 3 here",
        "c: none there, 4 here",
    ]
    assert differences(there, there) == []


def test_checkpoint_keeps_what_it_ran_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "git_changes", lambda: b"a change")
    config = small_experiment()
    trainer = Trainer(config, load_dataset(config.data), torch.device("cpu"))
    write_checkpoint(tmp_path / "c.safetensors", trainer.checkpoint())
    card = read_checkpoint(tmp_path / "c.safetensors").card
    assert card["environment"] == provenance.environment()
    assert card["changes"] == "a change"
    monkeypatch.setattr(provenance, "MAX_CARD_CHANGES", 7)
    assert trainer.checkpoint().card["changes"] == ""
