"""What a person types, read: each function takes the text of an option and returns its value.

They raise `argparse.ArgumentTypeError`, whose message argparse shows beside the option's name.
"""

import argparse
import os
from pathlib import Path
from typing import Any

from diffrop.schema import coerce, short
from diffrop.webhook import check_url
from diffrop.yaml_text import parse_yaml


def number(text: str) -> float:
    """Parse a finite number."""
    return float(_as(float, text))


def whole(text: str) -> int:
    """Parse a whole number, also written as 1e5."""
    return int(_as(int, text))


def at_least_0(text: str) -> float:
    """Parse a finite number that is not negative."""
    return _from(0, number(text))


def at_least_1(text: str) -> int:
    """Parse a whole number of one or more."""
    return int(_from(1, whole(text)))


def seed(text: str) -> int:
    """Parse a seed of random numbers."""
    found = int(_from(0, whole(text)))
    if found >= 2**31:
        raise argparse.ArgumentTypeError(f"{found} is too large; allowed: 0 to 2^31 - 1")
    return found


def _from(least: int, found: float) -> float:
    if found < least:
        raise argparse.ArgumentTypeError(f"{found:g} is too little; allowed: {least} or more")
    return found


def _as(kind: type, text: str) -> Any:
    try:
        return coerce(text, kind, "it")
    except ValueError as error:
        allowed = str(error).partition("allowed: ")[2]
        raise argparse.ArgumentTypeError(f"{short(text)} is none; allowed: {allowed}") from error


def numbers(text: str) -> tuple[float, ...]:
    """Parse "0,0.5,1"."""
    return tuple(number(part) for part in text.split(","))


def numbers_or_none(text: str) -> tuple[float | None, ...]:
    """Parse "none,0.25"."""
    return tuple(None if part.strip() == "none" else number(part) for part in text.split(","))


def whole_numbers(text: str) -> tuple[int, ...]:
    """Parse "0,3,12"."""
    return tuple(whole(part) for part in text.split(","))


def intervals(text: str) -> tuple[tuple[float, ...], ...]:
    """Parse "0-1,0.2-0.7"."""
    return tuple(_interval(part) for part in text.split(","))


def _interval(text: str) -> tuple[float, ...]:
    ends = text.split("-")
    if len(ends) != 2:
        message = f"{short(text)} is no interval; allowed: LOW-HIGH, such as 0.2-0.7"
        raise argparse.ArgumentTypeError(message)
    return tuple(number(end) for end in ends)


def names(text: str) -> list[str]:
    """Parse "color,cutout"; an empty text is an empty list."""
    return [part.strip() for part in text.split(",") if part.strip()]


def local_path(text: str) -> Path:
    """Parse a path; a `~` in front is the home folder, also where no shell has replaced it.

    Raises:
        argparse.ArgumentTypeError: it is empty, no path, or of a user who is not known.
    """
    try:
        found = Path(text).expanduser()
        found.stat()
    except (RuntimeError, ValueError) as error:
        raise argparse.ArgumentTypeError(f"{short(text)} is no path ({error})") from error
    except OSError:
        pass  # it need not exist
    if not text:
        raise argparse.ArgumentTypeError("'' is no path")
    return found


def absolute(text: str) -> str:
    """Parse a path, which is then one from every folder and on every worker; a URL stays."""
    return text if "://" in text else str(local_path(text).resolve())


def folder(text: str) -> str:
    """Parse the path of a folder, as text."""
    return str(local_path(text))


def fork_source(text: str) -> str:
    """Parse "baseline@10240", or the path of a checkpoint."""
    return text if "@" in text else absolute(text)


def imbalance_factor(text: str) -> float | None:
    """Parse a number, or `own` as None."""
    try:
        return None if text == "own" else number(text)
    except argparse.ArgumentTypeError as error:
        message = f"{short(text)} is no factor; allowed: a number, or own"
        raise argparse.ArgumentTypeError(message) from error


def seconds(text: str) -> float:
    """Parse a length of time as seconds: 90, 90s, 30m, 12h or 2d."""
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    unit = units.get(text[-1:], 0)
    try:
        return number(text[:-1]) * unit if unit else number(text)
    except argparse.ArgumentTypeError as error:
        message = f"{short(text)} is no length of time; allowed: such as 90s, 30m, 12h or 2d"
        raise argparse.ArgumentTypeError(message) from error


def setting(text: str) -> tuple[str, Any]:
    """Parse "training.learning_rate=1e-4"; the value is read as YAML."""
    key, mark, value = text.partition("=")
    if not mark:
        raise argparse.ArgumentTypeError(f"{short(text)} is no KEY=VALUE")
    try:
        return key.strip(), parse_yaml(value)
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"the value in {short(text)} is not valid YAML ({error}); a value with blanks in it "
            "needs quotation marks around KEY=VALUE"
        ) from error


def new_folder(text: str) -> Path:
    """Parse the path of a folder that is to be made, or is empty, in a place that exists."""
    found = local_path(text)
    try:
        taken = found.is_file() or (found.is_dir() and any(found.iterdir()))
        parent = next(path for path in found.absolute().parents if path.exists())
        fits = not taken and parent.is_dir() and os.access(parent, os.W_OK | os.X_OK)
        reason = "is taken" if taken else f"cannot be made in {parent}"
    except OSError as error:
        fits, reason = False, f"cannot be made ({error.strerror})"
    if not fits:
        message = f"folder {short(text)} {reason}; allowed: a new folder, or an empty one"
        raise argparse.ArgumentTypeError(message)
    return found


def webhook_url(text: str) -> str:
    """Parse the URL of a webhook, which no message shows."""
    try:
        return check_url(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def new_file(text: str) -> Path:
    """Parse the path of a file that is to be made in a folder that exists."""
    found = local_path(text)
    if found.exists() or not found.absolute().parent.is_dir():
        reason = "exists" if found.exists() else "is in no folder that exists"
        message = f"file {short(text)} {reason}; allowed: a new file in a folder that is there"
        raise argparse.ArgumentTypeError(message)
    return found
