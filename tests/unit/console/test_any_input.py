"""Whatever is typed or stands in a file, a study's command ends with a plan or one sentence."""

import contextlib
import functools
import io
import tempfile
from argparse import ArgumentParser
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diffrop.config import ExperimentConfig
from diffrop.console.commands import StudyCommand
from diffrop.console.options import study_parser
from diffrop.data import load_dataset
from diffrop.schema import flatten
from tests.made.plans import NODES, PROBE
from tests.made.small import SPACE

COMMAND = StudyCommand("run_tau_sweep", "A study.", SPACE, render=lambda path: [])
KEYS = sorted(flatten(ExperimentConfig().to_dict()))
OUTSIDE = ("--storage", "--storage-path", "--ray-address", "--tracking-uri")
ITS_OWN = ("--help", "--version", "--debug")
"""Options that reach other machines, and those that are there to print something else."""

WORDS = [
    *("", " ", "nan", "inf", "-inf", "1e5", "1e308", "1e-320", "-1", "-0", "0", "1", "2", "3"),
    *("0.5", "1.0000001", "64", "100", "1e2", "9" * 30, "9" * 5000, "1_0", "0x10", "1:30"),
    *("true", "null", "~", "no", "none", "hinge", "mu", "uniform", "digits", "fid/all", "fid"),
    *("[", "[1", "[1, 2]", "[1, 1]", "[]", "[[1]]", "[null]", "{", "{}", "{a: 1}", "{1: 2}"),
    *("a: b: c", "a: 1", "- 1", "&a [*a]", "2001-13-45", "2001-01-01", "!!int x", "!!set {a}"),
    *("..x:y", ":", "json:nothing", "a b:c", "@", "baseline@64", "baseline@", "baseline@-1"),
    *("/dev/null", "/etc/passwd", "/nowhere/x", ".", "..", "~nobody/x", "x" * 300, "x" * 5000),
    *("%s", "%(prog)s", "{0}", "[bold]", "\x1b[31m", "é", "画", "a\nb", "\udcff", "\u202e"),
]
values = st.one_of(
    st.sampled_from(WORDS),
    st.integers(-(2**70), 2**70).map(str),
    st.floats().map(repr),
    st.text(st.characters(exclude_characters="\0"), max_size=8),
)
keys = st.one_of(st.sampled_from(KEYS), st.sampled_from(["", "contrastive", "a.b", "x" * 200]))
plain = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.sampled_from(WORDS[:-14])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(WORDS[:30]), inner, max_size=2),
    ),
    max_leaves=4,
)
numbers = st.one_of(st.integers(-2, 200), st.floats(), st.sampled_from(["1e-1", "1e5", 2**60]))

SOUND: dict[str, dict[str, Any]] = {
    "contrastive.tau_0": {"choices": ["1e-1", 1, 2.5], "source": "ours"},
    "model.channel_multipliers": {"choices": [[1], [1, 2]], "source": "ours"},
    "training.learning_rate": {"low": "1e-5", "high": 1e-3, "log": True, "source": "ours"},
    "training.seed": {"low": 0, "high": "1e3", "source": "ours"},
}
"""Parameters with which a command plans."""


def options() -> dict[str, Any]:
    """Return every option of the command that stays on this machine, with its action."""
    found: dict[str, Any] = {}
    parser: ArgumentParser = study_parser("")
    for action in parser._actions:
        if action.option_strings and not {*action.option_strings} & {*OUTSIDE, *ITS_OWN}:
            found |= dict.fromkeys(action.option_strings, action)
    return found


@st.composite
def typed(draw: st.DrawFn) -> list[str]:
    """Some options, each with a value that it may or may not take."""
    words: list[str] = []
    for name in draw(st.lists(st.sampled_from(sorted(options())), max_size=3, unique=True)):
        action = options()[name]
        words.append(name)
        if action.nargs == 0:
            continue
        own = [str(choice) for choice in action.choices or ()]
        pool = st.one_of(values, st.sampled_from(own)) if own else values
        if name == "--set":
            pool = st.builds("{}={}".format, keys, values)
        words += draw(st.lists(pool, min_size=1, max_size=2 if action.nargs == "+" else 1))
    return words


@st.composite
def space(draw: st.DrawFn) -> object:
    """A search space, nearly or not at all right."""
    parameters: dict[Any, Any] = {
        key: SOUND[key] for key in draw(st.lists(st.sampled_from(sorted(SOUND)), unique=True))
    }
    for key in draw(st.lists(keys, max_size=2, unique=True)):
        entry = draw(
            st.fixed_dictionaries(
                {},
                optional={
                    "source": st.sampled_from(["ours", 1, None]),
                    "low": numbers,
                    "high": numbers,
                    "choices": st.one_of(plain, st.lists(plain, max_size=3)),
                    "log": st.sampled_from([True, "yes", 1]),
                    "integer": st.booleans(),
                    "when": st.one_of(
                        plain, st.dictionaries(keys, st.lists(plain, max_size=2), max_size=1)
                    ),
                    "more": plain,
                },
            )
        )
        whole = {"source": "ours"} | entry
        parameters[key] = draw(st.one_of(st.just(whole), st.just(entry), plain))
    wrong: list[object] = [parameters, [parameters], {"parameters": [parameters]}]
    return draw(st.sampled_from([*[{"parameters": parameters}] * 9, *wrong]))


@pytest.fixture(scope="module", autouse=True)
def _nothing_measured() -> Iterator[None]:
    """What a plan measures and asks of a cluster is known; data are loaded once each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("diffrop.console.dry_run.measure_speeds", lambda *_, **__: PROBE)
        patch.setattr("diffrop.console.dry_run.stand_ins", lambda *_: None)
        patch.setattr("diffrop.console.dry_run.nodes_of", lambda _: NODES)
        patch.setattr("diffrop.engine.prepare.load_dataset", functools.cache(load_dataset))
        yield


def ends_well(words: list[str]) -> None:
    """Run a command in an empty folder; it plans, or refuses in one sentence, and leaves nothing.

    Args:
        words: what is typed, beside --dry-run and the runs folder.
    """
    error, code = io.StringIO(), 0
    with tempfile.TemporaryDirectory() as name, contextlib.chdir(name):
        argv = ["--dry-run", "--gpus-per-worker", "0", "--runs-root", "runs", *words]
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(error):
            try:
                code = COMMAND.main(argv, {})
            except SystemExit as ended:
                code = ended.code if isinstance(ended.code, int) else -1
        left = list(Path(name).iterdir())
    lines = [line for line in error.getvalue().splitlines() if not line.startswith("usage: ")]
    assert code in (0, 2), (code, lines)
    if code == 2:
        assert len(lines) == 1 and ("error: " in lines[0]), lines
        assert len(lines[0]) < 4000
    assert left == []


SEARCH = settings(
    deadline=timedelta(seconds=30),
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@settings(SEARCH, max_examples=150)
@given(typed())
def test_any_options(words: list[str]) -> None:
    ends_well(words)


@settings(SEARCH, max_examples=150)
@given(keys, values)
def test_any_key_and_value(key: str, value: str) -> None:
    ends_well(["--set", f"{key}={value}"])


@settings(SEARCH, max_examples=150)
@given(
    st.one_of(
        space().map(yaml.safe_dump), values, space().map(yaml.safe_dump).map("a: 1\n".__add__)
    )
)
def test_any_search_space(text: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "space.yaml"
        path.write_text(text, encoding="utf-8", errors="surrogateescape")
        ends_well(["--space", str(path)])


@settings(SEARCH, max_examples=100)
@given(st.one_of(st.lists(st.dictionaries(keys, plain, max_size=2), max_size=3), plain))
def test_any_points(content: object) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "points.yaml"
        path.write_text(yaml.safe_dump(content), encoding="utf-8")
        ends_well(["--points", str(path)])
