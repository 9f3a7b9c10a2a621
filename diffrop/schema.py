"""What all configs share: frozen dataclasses to and from plain data, with checks of each field."""

import contextlib
import dataclasses
import difflib
import json
import math
import reprlib
import sys
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, Self

MAX_WHOLE = 2**63 - 1
"""The largest whole number that databases and NumPy hold."""

_NUMBERS = {int: "a whole number", float: "a number"}
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 80
_SHORT.maxlist = _SHORT.maxtuple = _SHORT.maxdict = 8
_SHORT.maxlevel = 3


class Config:
    """Base of all configs: conversion from and to plain data, and checks of each field."""

    __slots__ = ()

    def __post_init__(self) -> None:
        """Check types and choices of every field, then what the class itself demands."""
        hints = typing.get_type_hints(type(self))
        for item in dataclasses.fields(self):  # type: ignore[arg-type]
            value = coerce(getattr(self, item.name), hints[item.name], item.name)
            object.__setattr__(self, item.name, value)
        self.check()

    def check(self) -> None:
        """Raise ValueError, naming field, value and what is allowed; overridden by each config."""

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build from nested plain data; missing keys take their defaults, unknown are refused.

        Raises:
            ValueError: a key is unknown or a value is not allowed.
        """
        return typing.cast(Self, coerce(values, cls, cls.__name__))

    def to_dict(self) -> dict[str, Any]:
        """Return nested plain data (dicts, lists, numbers, strings), as YAML and JSON can hold."""
        return typing.cast(dict[str, Any], plain(dataclasses.asdict(self)))  # type: ignore[call-overload]


def plain(value: Any) -> Any:
    """Return nested data with tuples as lists, as YAML and JSON give them back."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def coerce(value: Any, hint: Any, name: str) -> Any:
    """Check `value` against the type `hint` of the field `name`, and return it in that type.

    Ints pass as floats, whole floats as ints, and so do texts of numbers: YAML 1.1 reads 1e-4,
    which has no dot, as a text. A list may be given as a text in JSON, as search spaces do.

    Raises:
        ValueError: the value has another type, or is not among the allowed choices.
    """
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin is Literal:
        require(value in args, name, value, ", ".join(str(choice) for choice in args))
        return value
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in args:
            return None
        return coerce(value, next(arg for arg in args if arg is not type(None)), name)
    if origin is tuple:
        items = _parsed_list(value)
        require(isinstance(items, list | tuple), name, value, "a list")
        return tuple(coerce(item, args[0], f"{name}[{i}]") for i, item in enumerate(items))
    if origin is dict:
        fits = isinstance(value, Mapping) and all(isinstance(key, str) for key in value)
        require(fits, name, value, "a mapping KEY: VALUE")
        return {key: coerce(item, args[1], f"{name}.{key}") for key, item in value.items()}
    if isinstance(hint, type) and issubclass(hint, Config):
        return value if isinstance(value, hint) else _build(hint, value, name)
    if hint in (int, float):
        return _coerced_number(value, hint, name)
    require(type(value) is hint, name, value, hint.__name__)
    return value


def _coerced_number(value: Any, hint: type, name: str) -> int | float:
    """Return a number as `hint`, int or float; ValueError if it is none, or too large."""
    number = _number(value) if isinstance(value, str) else value
    if not isinstance(number, int | float) or isinstance(number, bool):
        raise ValueError(f"{name} is {short(value)}; allowed: {_NUMBERS[hint]}")
    if hint is int:
        require(isinstance(number, int) or number.is_integer(), name, value, _NUMBERS[int])
        require(abs(number) <= MAX_WHOLE, name, value, f"a whole number up to {MAX_WHOLE:,}")
        return int(number)
    finite = abs(number) <= sys.float_info.max and not math.isnan(number)
    require(finite, name, value, "a finite number")
    return float(number)


def _number(text: str) -> int | float | None:
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return None


def _parsed_list(value: Any) -> Any:
    """Return the list that a text in JSON holds; anything else as it is."""
    if not (isinstance(value, str) and value.startswith("[")):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _build(cls: type[Config], values: Any, name: str) -> Config:
    allowed = f"a mapping of {cls.__name__}'s fields"
    require(isinstance(values, Mapping), name, values, allowed)
    fields = dataclasses.fields(cls)  # type: ignore[arg-type]
    known = [item.name for item in fields]
    unknown = [key for key in values if key not in known]
    if unknown:
        key = short(unknown[0])
        raise ValueError(f"unknown key {key} in {name}; allowed: {', '.join(known)}")
    required = [
        item.name
        for item in fields
        if item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING
    ]
    missing = [key for key in required if key not in values]
    if missing:
        raise ValueError(f"{name} has no key {missing[0]!r}")
    return cls(**values)


def require(condition: bool, name: str, value: object, allowed: str) -> None:
    """Raise ValueError `<name> is <value>; allowed: <allowed>` unless the condition holds."""
    if not condition:
        raise ValueError(f"{name} is {short(value)}; allowed: {allowed}")


def short(value: object) -> str:
    """Return a value as a message shows it: on one line, long and deep ones cut."""
    return _SHORT.repr(value)


def set_key(values: dict[str, Any], key: str, value: Any) -> None:
    """Set the dotted `key` in nested plain data, in place.

    Raises:
        ValueError: the key names nothing in `values`, or a whole part of it.
    """
    *parents, last = key.split(".")
    inner: Any = values
    for parent in parents:
        inner = inner.get(parent) if isinstance(inner, dict) else None
    if not isinstance(inner, dict) or last not in inner or isinstance(inner[last], dict):
        raise unknown_key(key, list(flatten(values)))
    inner[last] = value


def unknown_key(key: str, known: list[str]) -> ValueError:
    """Return the error of a dotted key that there is not, which names those near it."""
    near = difflib.get_close_matches(key[:100], known, cutoff=0.8)
    near = near or [name for name in known if name.startswith(f"{key}.")]
    allowed = f"did you mean {' or '.join(near)}?" if near else f"allowed: {', '.join(known)}"
    return ValueError(f"unknown configuration key {short(key)}; {allowed}")


def type_of_key(config: type[Config], key: str) -> Any:
    """Return the type of a dotted key of a configuration, as annotated.

    Raises:
        ValueError: the key names no field, or a whole part.
    """
    hint: Any = config
    for part in key.split("."):
        inner = isinstance(hint, type) and issubclass(hint, Config)
        hint = typing.get_type_hints(hint).get(part) if inner else None
    if hint is None or (isinstance(hint, type) and issubclass(hint, Config)):
        raise unknown_key(key, _keys(config))
    return hint


def _keys(config: type[Config], prefix: str = "") -> list[str]:
    found: list[str] = []
    for name, hint in typing.get_type_hints(config).items():
        if isinstance(hint, type) and issubclass(hint, Config):
            found += _keys(hint, f"{prefix}{name}.")
        else:
            found.append(prefix + name)
    return found


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested plain data as one level with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def value_differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Return "key old -> new" for every key in which two levels of plain data differ."""
    return [
        f"{key} {old.get(key)!r} -> {new.get(key)!r}"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    ]
