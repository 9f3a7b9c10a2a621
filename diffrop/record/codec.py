"""Frozen dataclasses to and from the plain data that JSON files hold.

A stored key has its field's name, unless the field says otherwise (`stored_as`). Keys that no
field has are passed over, so that a file of a later version with one more field is still read;
a missing key takes the field's default.
"""

import dataclasses
import types
import typing
from collections.abc import Mapping
from functools import cache
from typing import Any, TypeVar

Record = TypeVar("Record")
KEY = "key"


def stored_as(key: str) -> dict[str, str]:
    """Return the metadata of a dataclass field whose key in the file is not its name."""
    return {KEY: key}


def encode(record: Any) -> Any:
    """Return a record as plain data: dictionaries, lists, numbers and texts."""
    if dataclasses.is_dataclass(record) and not isinstance(record, type):
        return {_key(item): encode(getattr(record, item.name)) for item in _fields(type(record))}
    if isinstance(record, Mapping):
        return {key: encode(value) for key, value in record.items()}
    if isinstance(record, list | tuple):
        return [encode(value) for value in record]
    return record


def decode(cls: type[Record], values: Any, name: str = "") -> Record:
    """Build a record from plain data.

    Args:
        cls: a dataclass.
        values: what `encode` returned, as JSON gives it back.
        name: what is read, for the message.

    Raises:
        ValueError: a key without a default is missing, or a value has another type.
    """
    return typing.cast(Record, _decode(cls, values, name or cls.__name__))


def _decode(hint: Any, value: Any, name: str) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin is typing.Literal:
        _expect(value in args, name, value, ", ".join(map(str, args)))
        return value
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in args:
            return None
        return _decode(next(arg for arg in args if arg is not type(None)), value, name)
    if origin in (tuple, list):
        _expect(isinstance(value, list), name, value, "a list")
        fixed = origin is tuple and args[-1] is not Ellipsis
        hints = args if fixed else (args[0],) * len(value)
        _expect(len(hints) == len(value), name, value, f"{len(hints)} values")
        items = (_decode(hint, item, name) for hint, item in zip(hints, value, strict=True))
        return origin(items)
    if origin in (dict, Mapping):
        _expect(isinstance(value, dict), name, value, "a mapping")
        key_hint, value_hint = args
        return {
            (int(key) if key_hint is int else key): _decode(value_hint, item, f"{name}.{key}")
            for key, item in value.items()
        }
    if dataclasses.is_dataclass(hint):
        return _build(typing.cast(type, hint), value, name)
    if hint is float:
        _expect(type(value) in (int, float), name, value, "a number")
        return float(value)
    _expect(type(value) is hint, name, value, hint.__name__)
    return value


def _build(cls: type, values: Any, name: str) -> Any:
    _expect(isinstance(values, dict), name, values, "a mapping")
    hints = _hints(cls)
    found = {}
    for item in _fields(cls):
        key = _key(item)
        if key in values:
            found[item.name] = _decode(hints[item.name], values[key], f"{name}.{key}")
        elif item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING:
            raise ValueError(f"{name} has no key {key!r}")
    return cls(**found)


def _expect(fits: bool, name: str, value: object, allowed: str) -> None:
    if not fits:
        text = repr(value)
        shown = text if len(text) < 80 else f"{text[:77]}..."
        raise ValueError(f"{name} is {shown}; allowed: {allowed}")


def _key(item: "dataclasses.Field[Any]") -> str:
    return str(item.metadata.get(KEY, item.name))


def _fields(cls: type) -> "tuple[dataclasses.Field[Any], ...]":
    return dataclasses.fields(cls)


@cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)
