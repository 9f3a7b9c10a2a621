"""What all configs share: frozen dataclasses to and from plain data, with checks of each field."""

import contextlib
import dataclasses
import difflib
import json
import math
import re
import reprlib
import sys
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

MAX_WHOLE = 2**63 - 1
"""The largest whole number that databases and NumPy hold."""

NUM_NEAREST = 5
"""Keys that are shown in place of an unknown one."""
LIKELY = 0.8
"""Likeness, of 0 to 1, from which on a key is probably what was meant."""
SAME = 0.05
"""Keys whose likeness differs by less are equally probable."""

_NUMBERS = {int: "a whole number", float: "a number"}
_WORDS = {bool: "true or false", str: "a text"}
_ITEMS = {int: "1,2", float: "0.5,1"}
"""Of a list in an example; the choices, if there are some, take their place."""
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 80
_SHORT.maxlist = _SHORT.maxtuple = _SHORT.maxdict = 8
_SHORT.maxlevel = 3


class FieldError(ValueError):
    """A value that a field does not take, with the whole key of the field."""

    def __init__(self, key: str, problem: str, example: str = "") -> None:
        """Say "<key> <problem>", with the example of a value that is allowed, if there is one."""
        super().__init__(key, problem, example)  # all of them, for a copy in another process
        self.key, self._problem, self._example = key, problem, example

    def __str__(self) -> str:
        """Return the sentence."""
        more = f", such as {self.key}={self._example}" if self._example else ""
        return f"{self.key} {self._problem}{more}"

    @property
    def first_word(self) -> str:
        """The field of the outermost configuration that is known to hold it, if it is one."""
        return re.split(r"\W", self.key)[0]

    def inside(self, part: str) -> "FieldError":
        """Return the error as it is from outside of the part of a configuration."""
        return FieldError(f"{part}.{self.key}", self._problem, self._example)


class UnknownKeyError(FieldError):
    """A key that no field has, which names the nearest that there are."""

    def __init__(self, key: str, known: Sequence[str]) -> None:
        """Keep the key, and the dotted keys that are known."""
        super().__init__(key, "")
        self.args = (key, known)
        self._known = known

    def __str__(self) -> str:
        """Return the sentence."""
        likely, nearest = _nearest(self.key, self._known)
        if likely:
            return f"unknown configuration key {short(self.key)}; did you mean {likely}?"
        return f"unknown configuration key {short(self.key)}; nearest: {nearest}"

    @property
    def first_word(self) -> str:
        """One of the fields that the outermost configuration has."""
        return self._known[0].partition(".")[0] if self._known else ""

    def inside(self, part: str) -> "UnknownKeyError":
        """Return the error as it is from outside of the part of a configuration."""
        return UnknownKeyError(f"{part}.{self.key}", [f"{part}.{name}" for name in self._known])


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
        return typing.cast(Self, _build(cls, values))

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
        if not isinstance(items, list | tuple):
            raise FieldError(name, _refusal(value, "a list"), _example_of_list(args[0]))
        return tuple(coerce(item, args[0], f"{name}[{i}]") for i, item in enumerate(items))
    if origin is dict:
        fits = isinstance(value, Mapping) and all(isinstance(key, str) for key in value)
        require(fits, name, value, "a mapping KEY: VALUE")
        return {key: coerce(item, args[1], f"{name}.{key}") for key, item in value.items()}
    if isinstance(hint, type) and issubclass(hint, Config):
        return value if isinstance(value, hint) else _build(hint, value, name)
    if hint in (int, float):
        return _coerced_number(value, hint, name)
    require(type(value) is hint, name, value, _WORDS.get(hint, hint.__name__))
    return value


def _example_of_list(item: Any) -> str:
    """Return a list of what is annotated as `item`, as it is typed after --set KEY=."""
    kinds = typing.get_args(item)
    choices = kinds if typing.get_origin(item) is Literal else ()
    words = ",".join(map(str, choices[:2])) or next(
        (_ITEMS[kind] for kind in (item, *kinds) if kind in _ITEMS), "NAME"
    )
    return f"[{words}]"


def _coerced_number(value: Any, hint: type, name: str) -> int | float:
    """Return a number as `hint`, int or float; ValueError if it is none, or too large."""
    number = _number(value) if isinstance(value, str) else value
    if not isinstance(number, int | float) or isinstance(number, bool):
        raise FieldError(name, _refusal(value, _NUMBERS[hint]))
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


def _build(cls: type[Config], values: Any, name: str = "") -> Config:
    """Build a config from plain data; errors have `name` before the key, where it is a part."""
    allowed = f"a mapping of {cls.__name__}'s fields"
    require(isinstance(values, Mapping), name or cls.__name__, values, allowed)
    fields = dataclasses.fields(cls)  # type: ignore[arg-type]
    known = [item.name for item in fields]
    required = [
        item.name
        for item in fields
        if item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING
    ]
    try:
        unknown = [key for key in values if key not in known]
        if unknown:
            raise UnknownKeyError(unknown[0], _keys(cls))
        missing = [key for key in required if key not in values]
        if missing:
            raise ValueError(f"{name or cls.__name__} has no key {missing[0]!r}")
        return cls(**values)
    except FieldError as error:
        if name and error.first_word in known:
            raise error.inside(name) from error
        raise


def require(condition: bool, name: str, value: object, allowed: str) -> None:
    """Raise FieldError `<name> is <value>; allowed: <allowed>` unless the condition holds."""
    if not condition:
        raise FieldError(name, _refusal(value, allowed))


def _refusal(value: object, allowed: str) -> str:
    return f"is {short(value)}; allowed: {allowed}"


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
        raise UnknownKeyError(key, list(flatten(values)))
    inner[last] = value


def _nearest(key: str, known: Sequence[str]) -> tuple[str, str]:
    """Return what an unknown key probably stands for, if that is clear, and the nearest keys.

    Its last word alone counts too: who types training.tau_0 means contrastive.tau_0.
    """
    typed, last = str(key)[:100], str(key)[:100].rpartition(".")[2]

    def likeness(name: str) -> float:
        own = name.rpartition(".")[2]
        pairs = ((typed, name), (last, own))
        return max(difflib.SequenceMatcher(None, *pair).ratio() for pair in pairs)

    inside = [name for name in known if name.startswith(f"{typed}.")]
    nearest = (inside or sorted(known, key=likeness, reverse=True))[:NUM_NEAREST]
    least = max(LIKELY, likeness(nearest[0]) - SAME) if nearest and not inside else math.inf
    likely = [name for name in nearest if likeness(name) >= least]
    return " or ".join(likely), ", ".join(nearest)


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
        raise UnknownKeyError(key, _keys(config))
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
