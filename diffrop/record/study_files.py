"""The JSON records of a study: cost plan, rung agreement, confirmation."""

import json
from pathlib import Path
from typing import Any

import optuna

from diffrop.storage import write_atomically

PLAN, FIDELITY, CONFIRMATION = "plan.json", "fidelity.json", "confirm.json"


CONFIRM_LOCK = "confirm.lock"
"""Held by the driver that confirms, and by whoever writes that book."""


def read_record(folder: Path, name: str) -> dict[str, Any]:
    """Return one of a study's books, empty where it was not written."""
    path = folder / name
    found: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    return found


def write_record(folder: Path, study: optuna.Study, name: str, content: dict[str, Any]) -> None:
    """Write one of a study's books into its folder and, as an attribute, into Optuna's study.

    Whoever has the database alone finds it there, under its name without .json. The attribute is
    JSON in a column of type TEXT: without limit but in MySQL, whose 65,535 bytes no book reaches.
    """
    write_atomically(folder / name, json.dumps(content, indent=1))
    study.set_user_attr(name.removesuffix(".json"), content)
