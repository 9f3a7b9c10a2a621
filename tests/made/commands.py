"""The commands, by the names of their scripts in studies/, which is no package."""

import argparse
import re
from collections.abc import Callable, Mapping
from types import ModuleType

from diffrop.console.call import Call
from diffrop.main import load_command
from tests.made.small import ROOT

SCRIPTS = tuple(sorted(path.stem for path in (ROOT / "studies").glob("*.py")))


def command_name(script_name: str) -> str:
    """Return which command studies/NAME.py is, such as "study tau"."""
    text = (ROOT / "studies" / f"{script_name}.py").read_text("utf-8")
    (found,) = re.findall(r'script\("([a-z_ ]+)", __file__\)', text)
    return str(found)


def script(name: str) -> ModuleType:
    """Return the module of the command that studies/NAME.py is."""
    module = load_command(command_name(name))
    assert isinstance(module, ModuleType)
    return module


def command(name: str) -> Callable[..., int]:
    """Return what runs the command that studies/NAME.py is, given options and environment."""

    def main(argv: list[str], environment: Mapping[str, str] | None = None) -> int:
        typed = f"python studies/{name}.py"
        return load_command(command_name(name)).main(Call(typed, argv, environment or {}))

    return main


def parser_of(name: str) -> argparse.ArgumentParser:
    """Return the parser of the command that studies/NAME.py is."""
    return load_command(command_name(name)).parser(f"python studies/{name}.py")
