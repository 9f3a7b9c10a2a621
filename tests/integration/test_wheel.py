"""The wheel: what is in it, and that it needs no checkout."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from diffrop.main import command_modules
from tests.made.small import ROOT

CODE = ("diffrop", "analysis", "search_spaces")
BUILD = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds what the wheel installs, made from a copy of the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in CODE:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copyfile(ROOT / name, source / name)
    subprocess.run(
        [sys.executable, "-c", BUILD, str(folder)], cwd=source, check=True, capture_output=True
    )
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as content:
        content.extractall(folder / "installed")
    return folder / "installed"


def test_wheel_holds_all_code_as_one_package(installed: Path) -> None:
    packages = [path.name for path in installed.iterdir() if not path.name.endswith("-info")]
    assert packages == ["diffrop"]
    there = {path.relative_to(installed).as_posix() for path in installed.rglob("*")}
    for name in CODE:
        start = Path("diffrop") if name == "diffrop" else Path("diffrop") / name
        for path in (ROOT / name).rglob("*"):
            if path.suffix in (".py", ".yaml", ".j2", ".js"):
                assert (start / path.relative_to(ROOT / name)).as_posix() in there, path
    (points,) = installed.glob("*.dist-info/entry_points.txt")
    assert "diffrop = diffrop.main:main" in points.read_text("utf-8")


def test_installed_command_needs_no_checkout(installed: Path, tmp_path: Path) -> None:
    """From a folder with a package of the user's own that is called analysis."""
    (tmp_path / "analysis").mkdir()
    (tmp_path / "analysis" / "__init__.py").write_text("raise ImportError('not this one')\n")
    environment = {**os.environ, "PYTHONPATH": str(installed)}

    def typed(*words: str) -> str:
        command = [sys.executable, "-m", "diffrop", *words]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert all(name in typed("--help") for name in command_modules())
    assert "tau_sensitivity" in typed("figures", "list")
    plan = typed("study", "loss", "--dry-run", "--gpus-per-worker", "0")
    assert "Dry run: nothing was started" in plan
    assert sorted(path.name for path in tmp_path.iterdir()) == ["analysis"]
