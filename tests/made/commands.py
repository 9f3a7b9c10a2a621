"""The commands of studies/, which is no package."""

import importlib.util
from collections.abc import Callable
from types import ModuleType

from tests.made.small import ROOT


def command(name: str) -> Callable[[list[str]], int]:
    """Return the main function of studies/NAME.py."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "studies" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module: ModuleType = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    main: Callable[[list[str]], int] = module.main
    return main
