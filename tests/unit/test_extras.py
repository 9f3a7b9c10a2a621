"""How an extra is added depends on how the package is installed."""

import importlib.util
import shlex
import shutil
import tomllib
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import get_args

import pytest

from diffrop import extras
from tests.made.small import ROOT


def installed_in(folder: Path) -> ModuleType:
    """Import the module from a folder of packages, beside a stranger's pyproject.toml."""
    (folder / "diffrop").mkdir(parents=True)
    (folder / "pyproject.toml").write_text('[project]\nname = "another"\n')
    copy = shutil.copyfile(ROOT / "diffrop/extras.py", folder / "diffrop/extras.py")
    spec = importlib.util.spec_from_file_location("copied_extras", copy)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("has_pip", "installer"), [(True, "python -m pip install"), (False, "uv pip install")]
)
def test_extra_goes_into_the_checkout_or_by_name_with_what_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_pip: bool, installer: str
) -> None:
    by_name = installed_in(tmp_path / "site-packages")
    monkeypatch.setattr(metadata, "distributions", lambda name: [object()] * has_pip)
    assert by_name.install_command("diffusers") == f"{installer} 'diffrop-studies[diffusers]'"
    checkout = shlex.quote(f"{ROOT}[diffusers]")
    assert extras.install_command("diffusers") == f"{installer} -e {checkout}"


def test_extras_are_those_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["name"] == extras.PACKAGE
    assert set(get_args(extras.Extra)) <= project["optional-dependencies"].keys()
