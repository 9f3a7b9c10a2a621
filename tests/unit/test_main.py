"""The command `diffrop`: what it finds, what it refuses, and what it costs."""

import argparse
import shutil
import subprocess
import sys

import pytest

from diffrop.main import (
    SHELLS,
    command_modules,
    help_text,
    load_command,
    run,
    summary,
    whole_parser,
)
from tests.made.small import ROOT

HEAVY = ("torch", "ray", "mlflow", "optuna", "pandas", "numpy", "matplotlib", "rich")
ASKED = {
    *(
        f"study {name}"
        for name in ["tau", "loss", "schedule", "margin", "method", "guidance", "pareto"]
    ),
    *["train", "sample", "tables", "gan", "classifier", "status", "report", "figures", "export"],
    "reproduce",
}


def test_every_command_is_there_with_a_sentence_of_help_in_80_columns() -> None:
    assert set(command_modules()) >= ASKED
    lines = help_text("diffrop").splitlines()
    assert max(map(len, lines)) <= 80
    words = " ".join(" ".join(lines).split())
    for name in command_modules():
        assert summary(name).endswith(".")
        assert f" {name} {summary(name)}" in words
    studies = help_text("diffrop", "study")
    assert "study tau" in studies and "export" not in studies


@pytest.mark.parametrize("name", sorted(command_modules()))
def test_help_of_a_command_says_how_it_was_typed(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run([*name.split(), "--help"], "diffrop")
    assert not ended.value.code
    said = capsys.readouterr().out
    assert said.startswith(f"usage: diffrop {name} ")
    assert max(map(len, said.splitlines())) <= 80


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("trian", "there is no command 'trian'; did you mean train?"),
        ("study tua --trials 3", "there is no command 'study tua'; did you mean study tau?"),
        ("xyz", "there is no command 'xyz'; `diffrop --help` lists all"),
        ("--print-completion fish", "there is no command '--print-completion'"),
    ],
)
def test_mistyped_command_is_refused_with_the_nearest(
    words: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run(words.split(), "diffrop")
    assert ended.value.code == 2
    said = capsys.readouterr()
    assert sentence in said.err and said.err.count("\n") == 1 and said.out == ""


def test_no_command_prints_the_help_and_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([], "diffrop") == run(["study"], "diffrop") == 2
    assert run(["--help"], "diffrop") == run(["study", "-h"], "diffrop") == 0
    assert capsys.readouterr().out.count("usage: diffrop COMMAND") == 4


def test_help_and_version_import_no_large_library() -> None:
    code = (
        "import sys\nfrom diffrop.main import run\n"
        f"assert run([sys.argv[1]], 'diffrop') == 0\nprint({set(HEAVY)} & set(sys.modules))"
    )
    for option in ("--help", "--version"):
        done = subprocess.run(
            [sys.executable, "-c", code, option], capture_output=True, text=True, check=True
        )
        assert done.stdout.splitlines()[-1] == "set()"


def options(parser: argparse.ArgumentParser) -> set[str]:
    return {flag for action in parser._actions for flag in action.option_strings}


def subparsers(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    (found,) = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    return dict(found.choices)


def test_completion_knows_every_command_with_its_options() -> None:
    pytest.importorskip("shtab", reason="make setup installs it")
    first = subparsers(whole_parser("diffrop"))
    studies = subparsers(first["study"])
    for name in command_modules():
        *study, last = name.split()
        found = studies[last] if study else first[last]
        assert options(found) == options(load_command(name).parser(name)), name


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_completes_commands_and_options(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("shtab", reason="make setup installs it")
    assert run(["--print-completion", "bash"], "diffrop") == 0
    printed = capsys.readouterr().out
    for typed, expected in (
        (["diffrop", "sta"], ["status"]),
        (["diffrop", "study", "t"], ["tau"]),
        (["diffrop", "study", "tau", "--dry"], ["--dry-run"]),
        (["diffrop", "sample", "--lab"], ["--labels"]),
    ):
        words = " ".join(f"'{word}'" for word in typed)
        asked = (
            f"{printed}\nCOMP_WORDS=({words}); COMP_CWORD={len(typed) - 1}\n"
            'name=$(complete -p diffrop | sed -E "s/.*-F ([^ ]+).*/\\1/")\n'
            '$name; echo "${COMPREPLY[@]}"\n'
        )
        done = subprocess.run(
            ["bash", "-c", asked], capture_output=True, text=True, check=True, cwd=ROOT
        )
        assert done.stdout.split() == expected, done.stderr


def test_all_shells_get_a_script(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("shtab", reason="make setup installs it")
    for shell in SHELLS:
        assert run(["--print-completion", shell], "diffrop") == 0
        said = capsys.readouterr().out
        assert "--print-completion" in said and "--dry-run" in said
