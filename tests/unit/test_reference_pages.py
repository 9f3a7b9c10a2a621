"""The generated reference: every option and key is there once, with what the code says."""

import dataclasses
import importlib.util
import re
from types import ModuleType

import pytest
import yaml

from diffrop.config import ExperimentConfig
from diffrop.console.option_table import OPTIONS
from diffrop.console.options import OWNERS, PARTS
from tests.made.small import ROOT


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    """docs/generate/reference.py, which is in no package."""
    path = ROOT / "docs" / "generate" / "reference.py"
    spec = importlib.util.spec_from_file_location("reference", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rows(page: str, end: str) -> list[list[str]]:
    """Return the cells of a page up to a heading: no marks, and of two names the first."""
    part = page.split(f"\n{end}\n")[0]
    lines = [line for line in part.splitlines() if line.startswith("| <code>")]
    return [
        [re.sub("<br>.*|</?code>", "", cell).strip() for cell in x[1:-1].split("|")] for x in lines
    ]


def test_every_key_stands_once_with_its_default_and_a_meaning(reference: ModuleType) -> None:
    found = rows(reference.configuration_page(), "## Recipes")
    defaults = {cells[0]: cells[2] for cells in found}
    nested = {"study.space", "study.experiment"}  # a file of its own, and the parts
    expected = {
        f"{owner}.{item.name}"
        for owner, config in OWNERS.items()
        for item in dataclasses.fields(config)  # type: ignore[arg-type]
    }
    assert len(found) == len(defaults)
    assert set(defaults) == expected - nested
    plain = ExperimentConfig()
    for key, text in defaults.items():
        part, _, name = key.partition(".")
        if part in PARTS:
            value = yaml.safe_load(re.sub(r"(?<=\d),(?=\d{3})", "", text))
            assert plain.with_values({key: value}) == plain, key
            assert getattr(getattr(plain, part), name) is not None or value is None
    assert [cells[0] for cells in found if not cells[3]] == []


def test_every_option_stands_with_its_flags_and_key(reference: ModuleType) -> None:
    flags = [cells[0] for cells in reference.option_rows()]
    assert len(flags) == len(OPTIONS)
    for option, cell in zip(OPTIONS.values(), flags, strict=True):
        assert re.findall(r"--[\w-]+", cell) == option.flags.split()


def test_docstring_of_a_field_is_that_which_follows_it(reference: ModuleType) -> None:
    docs = reference.field_docs(OWNERS["contrastive"])
    assert docs["decay_temperature"].startswith("kappa in tau(t)")
    assert docs["margin"].startswith("Hinge only")


def test_marks_of_tables_are_escaped(reference: ModuleType) -> None:
    text = reference.table(["a"], [[reference.code("low <= x | y")]])
    assert text.splitlines()[2] == "| <code>low &lt;= x &#124; y</code> |"
