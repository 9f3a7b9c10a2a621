"""What all configs share: frozen dataclasses to and from plain data, with checks of each field."""

import dataclasses
import difflib
import math
import sys
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

import yaml


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
    """Check `value` against the type `hint` of the field `name`; ints pass as floats.

    Raises:
        ValueError: the value has another type, or is not among the allowed choices.
    """
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        if value not in args:
            allowed = ", ".join(str(choice) for choice in args)
            raise ValueError(f"{name} is {value!r}; allowed: {allowed}")
        return value
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in args:
            return None
        return coerce(value, next(arg for arg in args if arg is not type(None)), name)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ValueError(f"{name} is {value!r}; allowed: a list")
        return tuple(coerce(item, args[0], f"{name}[{i}]") for i, item in enumerate(value))
    if isinstance(hint, type) and issubclass(hint, Config):
        return value if isinstance(value, hint) else _build(hint, value, name)
    if hint is float and isinstance(value, str):
        value = _number(value)  # YAML 1.1 reads 1e-4, without a dot, as a string
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        if abs(value) > sys.float_info.max or math.isnan(value):
            raise ValueError(f"{name} is {value!r}; allowed: a finite number")
        return float(value)
    if hint in (int, bool, str) and type(value) is not hint:
        raise ValueError(f"{name} is {value!r}; allowed: {hint.__name__}")
    if hint is float:
        raise ValueError(f"{name} is {value!r}; allowed: a number")
    return value


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _build(cls: type[Config], values: Any, name: str) -> Config:
    if not isinstance(values, Mapping):
        raise ValueError(f"{name} is {values!r}; allowed: a mapping of {cls.__name__}'s fields")
    fields = dataclasses.fields(cls)  # type: ignore[arg-type]
    known = [item.name for item in fields]
    unknown = [key for key in values if key not in known]
    if unknown:
        raise ValueError(f"unknown key {unknown[0]!r} in {name}; allowed: {', '.join(known)}")
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
        raise ValueError(f"{name} is {value!r}; allowed: {allowed}")


def set_key(values: dict[str, Any], key: str, value: Any) -> None:
    """Set the dotted `key` in nested plain data, in place.

    Raises:
        ValueError: the key names nothing in `values`.
    """
    *parents, last = key.split(".")
    inner: Any = values
    for parent in parents:
        inner = inner.get(parent) if isinstance(inner, dict) else None
    if not isinstance(inner, dict) or last not in inner:
        known = list(flatten(values))
        near = difflib.get_close_matches(key, known, cutoff=0.8)
        allowed = f"did you mean {' or '.join(near)}?" if near else f"allowed: {', '.join(known)}"
        raise ValueError(f"unknown configuration key {key!r}; {allowed}")
    inner[last] = value


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested plain data as one level with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def load_yaml(path: Path) -> Any:
    """Read one YAML file as plain data.

    Raises:
        ValueError: the file is missing, unreadable or not YAML.
    """
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        line = " ".join(str(error).split())
        raise ValueError(f"{path} is not valid YAML: {line}") from error
