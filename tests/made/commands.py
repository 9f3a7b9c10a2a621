"""The commands of studies/, which is no package."""

import argparse
import importlib.util
from collections.abc import Callable
from types import ModuleType

import pytest

from tests.made.small import ROOT

SCRIPTS = tuple(sorted(path.stem for path in (ROOT / "studies").glob("*.py")))


def script(name: str) -> ModuleType:
    """Return studies/NAME.py as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "studies" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def command(name: str) -> Callable[[list[str]], int]:
    """Return the main function of studies/NAME.py."""
    main: Callable[[list[str]], int] = script(name).main
    return main


def parser_of(name: str, monkeypatch: pytest.MonkeyPatch) -> argparse.ArgumentParser:
    """Return the parser of studies/NAME.py, which is asked to parse nothing."""
    found: list[argparse.ArgumentParser] = []

    def keep(parser: argparse.ArgumentParser, *_: object) -> None:
        found.append(parser)
        raise SystemExit

    module = script(name)
    with monkeypatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", keep)
        with pytest.raises(SystemExit):
            if hasattr(module, "COMMAND"):
                module.COMMAND.main([], {})
            else:
                module.parse([])
    return found[0]
