"""Whatever is typed or stands in a file, a study's command ends with a plan or one sentence."""

import argparse
import contextlib
import functools
import io
import json
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diffrop.config import ExperimentConfig
from diffrop.console.call import Call
from diffrop.console.commands import StudyCommand
from diffrop.console.options import study_parser
from diffrop.data import load_dataset
from diffrop.schema import flatten
from tests.made import no_pages
from tests.made.plans import NODES, PROBE
from tests.made.small import SPACE

T = TypeVar("T")

COMMAND = StudyCommand("tau", "A study.", SPACE, pages=no_pages)
KEYS = sorted(flatten(ExperimentConfig().to_dict()))
OUTSIDE = ("--storage", "--storage-path", "--ray-address", "--tracking-uri")
DOWNLOADED = ("cifar10", "cifar100", "fashion_mnist")
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
"""Parameters with which a command plans: none is the form, which a space may leave out."""
FORM = {"contrastive.form": {"choices": ["hinge", "reciprocal"], "source": "ours"}}


def one_of_two(sound: st.SearchStrategy[T], other: st.SearchStrategy[T]) -> st.SearchStrategy[T]:
    """One or the other, as often; `st.one_of` goes by how many branches each has."""
    return st.booleans().flatmap(lambda is_other: other if is_other else sound)


def options() -> dict[str, Any]:
    """Return every option of the command that stays on this machine, with its action."""
    found: dict[str, Any] = {}
    parser: argparse.ArgumentParser = study_parser("")
    for action in parser._actions:
        if action.option_strings and not {*action.option_strings} & {*OUTSIDE, *ITS_OWN}:
            found |= dict.fromkeys(action.option_strings, action)
    return found


settings_as_they_are = st.sampled_from(
    [f"{key}={json.dumps(value)}" for key, value in flatten(ExperimentConfig().to_dict()).items()]
)


@st.composite
def typed(draw: st.DrawFn) -> list[str]:
    """Some options, each with a value that it may or may not take."""
    words: list[str] = []
    for name in draw(st.lists(st.sampled_from(sorted(options())), max_size=3, unique=True)):
        action = options()[name]
        words.append(name)
        if action.nargs == 0:
            continue
        pool = values
        if action.choices:
            own = [choice for choice in map(str, action.choices) if choice not in DOWNLOADED]
            pool = one_of_two(st.sampled_from(own), values)
        elif name == "--set":
            pool = one_of_two(settings_as_they_are, st.builds("{}={}".format, keys, values))
        elif action.default is argparse.SUPPRESS:
            pool = one_of_two(st.sampled_from(["2", "64", "100"]), values)
        words += draw(st.lists(pool, min_size=1, max_size=2 if action.nargs == "+" else 1))
    return words


entries = st.fixed_dictionaries(
    {},
    optional={
        "source": st.sampled_from(["ours", 1, None]),
        "low": numbers,
        "high": numbers,
        "choices": st.one_of(plain, st.lists(plain, max_size=3)),
        "log": st.sampled_from([True, "yes", 1]),
        "integer": st.booleans(),
        "when": st.one_of(plain, st.dictionaries(keys, st.lists(plain, max_size=2), max_size=1)),
        "more": plain,
    },
)
"""What may stand under a key of a space."""
sound_parameters = st.builds(
    lambda form, found: form | {key: SOUND[key] for key in found},
    st.sampled_from([{}, FORM]),
    st.lists(st.sampled_from(sorted(SOUND)), min_size=1, unique=True),
)


@st.composite
def odd_space(draw: st.DrawFn) -> object:
    """A search space, nearly or not at all right."""
    parameters: dict[Any, Any] = draw(sound_parameters)
    for key in draw(st.lists(keys, max_size=2, unique=True)):
        entry = draw(st.one_of(entries, entries.map({"source": "ours"}.__or__), plain))
        parameters = parameters | {key: entry}
    wrong: list[object] = [parameters, [parameters], {"parameters": [parameters]}]
    return draw(st.sampled_from([*[{"parameters": parameters}] * 9, *wrong]))


odd_spaces = odd_space().map(yaml.safe_dump)
sound_spaces = sound_parameters.map(lambda found: yaml.safe_dump({"parameters": found}))
sound_points = st.fixed_dictionaries(
    {"contrastive.form": st.sampled_from(["reciprocal", "exponential"])},
    optional={
        "contrastive.tau_0": st.floats(0.1, 100),
        "contrastive.decay_temperature": st.sampled_from(["1e-1", 0.5, 1]),
    },
)
odd_points = st.one_of(st.lists(st.dictionaries(keys, plain, max_size=2), max_size=3), plain)


@pytest.fixture(scope="module", autouse=True)
def _nothing_measured() -> Iterator[None]:
    """What a plan measures and asks of a cluster is known; data are loaded once each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("diffrop.console.dry_run.measure_speeds", lambda *_, **__: PROBE)
        patch.setattr("diffrop.console.dry_run.stand_ins", lambda *_: None)
        patch.setattr("diffrop.console.dry_run.nodes_of", lambda _: NODES)
        loaded = functools.cache(load_dataset)
        load = "diffrop.engine.prepare.load_dataset"
        patch.setattr(load, lambda config, tell=None: loaded(config))
        yield


def ended(words: list[str], text: str | None = None) -> tuple[int, list[str], list[str]]:
    """Run a command in an empty folder.

    Args:
        words: what is typed, beside --dry-run and the runs folder.
        text: of a file whose path is typed last.

    Returns:
        The exit code (-1 for none), what was said of an error, and what was left in the folder.
    """
    error, code = io.StringIO(), 0
    with tempfile.TemporaryDirectory() as outside, tempfile.TemporaryDirectory() as name:
        argv = ["--dry-run", "--gpus-per-worker", "0", "--runs-root", "runs", *words]
        if text is not None:
            file = Path(outside) / "file.yaml"
            file.write_text(text, encoding="utf-8", errors="surrogateescape")
            argv.append(str(file))
        with (
            contextlib.chdir(name),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(error),
        ):
            try:
                code = COMMAND.main(Call("diffrop study tau", argv, {}))
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else -1
        left = [path.name for path in Path(name).iterdir()]
    said = [line for line in error.getvalue().splitlines() if not line.startswith("usage: ")]
    return code, said, left


NO_FILE: st.SearchStrategy[str | None] = st.none()


def planned_and_refused(
    drawn: st.SearchStrategy[list[str]],
    num_examples: int,
    texts: st.SearchStrategy[str | None] = NO_FILE,
) -> tuple[int, int]:
    """Run commands; each plans, or refuses in one sentence, and leaves nothing behind.

    Args:
        drawn: what is typed.
        num_examples: how many commands are run.
        texts: of the file whose path is typed last, if any.

    Returns:
        How many planned, and how many refused.
    """
    codes: list[int] = []

    @settings(SEARCH, max_examples=num_examples)
    @given(drawn, texts)
    def run(words: list[str], text: str | None) -> None:
        code, said, left = ended(words, text)
        assert code in (0, 2), (code, said)
        if code == 2:
            assert len(said) == 1 and "error: " in said[0] and len(said[0]) < 4000, said
        assert left == []
        codes.append(code)

    run()
    return codes.count(0), codes.count(2)


SEARCH = settings(
    deadline=timedelta(seconds=30),
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
ENOUGH = 20
"""Commands of each outcome among those that a test draws."""


def test_any_options() -> None:
    assert min(planned_and_refused(typed(), 150)) >= ENOUGH


def test_any_key_and_value() -> None:
    odd = st.builds("{}={}".format, keys, values)
    drawn = one_of_two(settings_as_they_are, odd).map(lambda text: ["--set", text])
    assert min(planned_and_refused(drawn, 150)) >= ENOUGH


def test_any_search_space() -> None:
    odd = st.one_of(odd_spaces, values.map(str), odd_spaces.map("a: 1\n".__add__))
    texts = one_of_two(sound_spaces, odd)
    assert min(planned_and_refused(st.just(["--space"]), 150, texts)) >= ENOUGH


def test_any_points() -> None:
    lists = one_of_two(st.lists(sound_points, max_size=3), odd_points)
    texts = lists.map(yaml.safe_dump)
    assert min(planned_and_refused(st.just(["--points"]), 100, texts)) >= ENOUGH


@pytest.mark.parametrize("parameters", [{key: entry} for key, entry in SOUND.items()], ids=SOUND)
def test_space_without_a_form_plans(parameters: dict[str, Any]) -> None:
    assert ended(["--space"], yaml.safe_dump({"parameters": parameters})) == (0, [], [])
