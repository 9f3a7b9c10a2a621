"""One call of a command: what was typed, and where."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Call:
    """What a command is handed; nothing below reads the command line or the environment."""

    command: str
    """What was typed before the options, such as `diffrop study tau`."""
    argv: Sequence[str]
    """The options."""
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
