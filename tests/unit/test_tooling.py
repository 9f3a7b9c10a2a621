import re
import tomllib
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]


def test_commits_are_checked_by_the_ruff_of_the_lock_file() -> None:
    locked = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    (repository,) = config["repos"]
    found = re.search(r"^ruff==(\S+)", locked, re.MULTILINE)
    assert found and repository["rev"] == f"v{found[1]}"
    assert [hook["id"] for hook in repository["hooks"]] == ["ruff-check", "ruff-format"]


def test_slow_tests_and_quick_ones_are_all_of_them() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    run = set(re.findall(r"tests/\w+", text))
    folders = {path.parent for path in (ROOT / "tests").glob("*/test_*.py")}
    assert run == {str(path.relative_to(ROOT)) for path in folders}


def locked_packages() -> dict[str, tuple[str, list[str]]]:
    """Version and hashes of each package of the lock file, by its canonical name."""
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    found = {}
    for line in lines:
        pinned, *options = line.split("--hash=")
        name, version = pinned.partition(";")[0].strip().split("==")
        found[canonicalize_name(name)] = version, [option.strip() for option in options]
    assert len(found) == len(lines)
    return found


def test_every_package_is_locked_to_files_by_their_hashes() -> None:
    for name, (_, hashes) in locked_packages().items():
        assert hashes, name
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", found) for found in hashes), name


def test_locked_versions_are_in_the_ranges_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    del extras["efficientnet"], extras["docs"]  # optional even for developers
    versions = locked_packages()
    asked = [*project["dependencies"], *(text for extra in extras.values() for text in extra)]
    for requirement in map(Requirement, asked):
        version, _ = versions[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), requirement


def test_site_is_built_with_versions_in_the_range_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = (ROOT / "docs" / "requirements.txt").read_text("utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    for requirement in map(Requirement, project["optional-dependencies"]["docs"]):
        assert requirement.specifier.contains(pins[requirement.name]), requirement
