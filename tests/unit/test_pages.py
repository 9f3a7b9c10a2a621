"""The pages of docs/: what they type is what the commands take."""

import contextlib
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from diffrop.console.configs import experiment_config, study_config
from diffrop.main import command_modules, load_command
from diffrop.study.config import StudyConfig
from tests.made.analysed_study import write_study
from tests.made.commands import SCRIPTS, command_name
from tests.made.pages import DOCS, HOW_TO, blocks, calls, save_files, shell_blocks
from tests.made.small import ROOT

PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
OF_EXTENSIONS = {"stripes", "student", "quarter"}
"""What exists only after the changes of docs/extend.md, whose own test applies them."""


def ids(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_every_command_of_a_page_is_taken_by_its_command(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_files(page, tmp_path)
    monkeypatch.chdir(tmp_path)
    for name, words in calls(page):
        if name not in command_modules() or any(
            word.split("=")[-1] in OF_EXTENSIONS for word in words
        ):
            assert page.name == "extend.md", (name, words)
            continue
        errors = io.StringIO()
        with contextlib.redirect_stderr(errors):
            try:
                args = load_command(name).parser(name).parse_args(words)
            except SystemExit:
                pytest.fail(f"{name} {' '.join(words)}: {errors.getvalue()}")
        if hasattr(module := load_command(name), "COMMAND"):
            own = module.COMMAND
            config = study_config(args, own.name, own.space, own.settings)
            assert isinstance(config, StudyConfig)
        elif name == "train":
            experiment_config(args, vars(args).get("preset"))


def test_there_is_one_way_to_activate_the_environment() -> None:
    texts = [*PAGES, ROOT / "CONTRIBUTING.md", *(ROOT / "analysis").glob("*.ipynb")]
    found = {line for path in texts for line in path.read_text("utf-8").splitlines()}
    named = {word for line in found for word in re.findall(r"[^`\"]*\.venv/bin[^`\"]*", line)}
    assert {word.strip() for word in named} == {"source .venv/bin/activate"}


@pytest.mark.parametrize("page", HOW_TO, ids=ids)
def test_every_command_of_a_how_to_page_is_in_a_block_that_a_test_reads(page: Path) -> None:
    text = page.read_text("utf-8")
    indented = re.findall(
        r"^ {4}(?:diffrop|python(?! -m pip)|sbatch|srun|ray|mlflow) .*", text, re.M
    )
    assert indented == []
    assert shell_blocks(page), "a how-to page without a command"


def test_blocks_for_a_cluster_are_told_from_those_that_run_here() -> None:
    assert all(not block.runs_here for block in shell_blocks(DOCS / "cluster.md"))
    for page in (DOCS / "tutorial.md", DOCS / "how-to" / "resume.md"):
        assert all(block.runs_here for block in shell_blocks(page))


def test_shells_complete_as_the_page_says(tmp_path: Path) -> None:
    pytest.importorskip("shtab", reason="make setup installs it")
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    search = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    commands = [
        command
        for block in shell_blocks(DOCS / "how-to" / "install.md")
        for command in block.commands
    ]
    subprocess.run(
        ["bash", "-ec", "\n".join(commands)],
        cwd=tmp_path,
        env={"PYTHONPATH": path, "PATH": search, "HOME": str(tmp_path)},
        check=True,
        timeout=200,
    )
    written = tmp_path / ".local" / "share" / "bash-completion" / "completions" / "diffrop"
    assert "--dry-run" in written.read_text("utf-8")


def test_page_names_the_command_of_every_script() -> None:
    text = (DOCS / "how-to" / "install.md").read_text("utf-8")
    rows = re.findall(r"^\| `diffrop ([a-z ]+)` \| `python studies/(\w+)\.py` \|$", text, re.M)
    assert sorted((script, name) for name, script in rows) == [
        (script, command_name(script)) for script in SCRIPTS
    ]
    (others,) = re.findall(r"^\| (`diffrop .*) \| none \|$", text, re.M)
    scripts = {name for name, _ in rows}
    assert {*re.findall(r"`diffrop (\w+)`", others)} == command_modules().keys() - scripts


def test_two_studies_are_compared_as_the_page_says(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_study(tmp_path / "runs" / name, name=name)
    page = DOCS / "how-to" / "compare.md"
    here = Path(sys.executable).parent
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path, "PATH": f"{here}:{os.environ['PATH']}"}
    here_alone = [block for block in shell_blocks(page) if block.runs_here]
    (command,) = [command for block in here_alone for command in block.commands]
    (program,) = [block.text for block in blocks(page, "python")]
    for typed in (["bash", "-ec", command], [sys.executable, "-c", program]):
        done = subprocess.run(
            typed, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200
        )
        assert done.returncode == 0, done.stderr
    assert sorted(path.suffix for path in (tmp_path / "comparison").iterdir()) == [".png", ".svg"]
    assert {line.split()[1] for line in done.stdout.splitlines()[1:]} == {"a", "b"}
