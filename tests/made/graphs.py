"""torch.compile without machine code, for tests of what uses it."""

import functools
import logging

import pytest
import torch

from benchmarks.stand_in import COMPILER


def trace_without_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let torch.compile do all but the machine code, which takes minutes on a CPU."""
    torch.compiler.reset()
    traced = functools.partial(torch.compile, backend=COMPILER)
    monkeypatch.setattr(torch, "compile", traced)
    # pytest listens to this logger, for which every graph would be printed many times.
    monkeypatch.setattr(logging.getLogger("torch.__trace"), "handlers", [])
