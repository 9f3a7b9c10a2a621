import re
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]


def test_commits_are_checked_by_the_ruff_of_the_lock_file() -> None:
    locked = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    (repository,) = config["repos"]
    found = re.search(r"^ruff==(.+)$", locked, re.MULTILINE)
    assert found and repository["rev"] == f"v{found[1]}"
    assert [hook["id"] for hook in repository["hooks"]] == ["ruff-check", "ruff-format"]


def test_slow_tests_and_quick_ones_are_all_of_them() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    run = set(re.findall(r"tests/\w+", text))
    folders = {path.parent for path in (ROOT / "tests").glob("*/test_*.py")}
    assert run == {str(path.relative_to(ROOT)) for path in folders}
