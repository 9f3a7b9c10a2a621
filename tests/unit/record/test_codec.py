import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import pytest

from diffrop.record.codec import decode, encode, stored_as


@dataclass(frozen=True)
class Part:
    name: str
    share: float | None = None


@dataclass(frozen=True)
class Chosen:
    word: Literal["one", "two"]


@dataclass(frozen=True, kw_only=True)
class Whole:
    number: int
    text: str = field(default="", metadata=stored_as("words"))
    parts: tuple[Part, ...] = ()
    ends: tuple[float, float] | None = None
    rows: list[Part] = field(default_factory=list)
    by_number: dict[int, Part] = field(default_factory=dict)
    options: Mapping[str, float] = field(default_factory=dict)


WHOLE = Whole(
    number=3,
    text="so",
    parts=(Part("a", 0.5), Part("b")),
    ends=(1.0, 2.5),
    rows=[Part("c")],
    by_number={7: Part("d", 1.0)},
    options={"x": 0.25},
)


def stored(record: object) -> object:
    """A record as JSON gives it back."""
    return json.loads(json.dumps(encode(record)))


def test_record_comes_back_from_json_as_it_was() -> None:
    assert decode(Whole, stored(WHOLE)) == WHOLE
    assert decode(Whole, stored(Whole(number=1))) == Whole(number=1)


def test_field_may_have_another_key_in_the_file() -> None:
    found = stored(WHOLE)
    assert isinstance(found, dict) and found["words"] == "so" and "text" not in found


def test_unknown_keys_are_passed_over_and_missing_ones_take_the_default() -> None:
    assert decode(Whole, {"number": 3, "of_a_later_version": [1]}) == Whole(number=3)


def test_word_is_one_of_its_choices() -> None:
    assert decode(Chosen, {"word": "one"}) == Chosen("one")
    with pytest.raises(ValueError, match="word is 'none'; allowed: one, two"):
        decode(Chosen, {"word": "none"})


def test_whole_number_is_read_as_a_real_one() -> None:
    share = decode(Part, {"name": "a", "share": 1}).share
    assert share == 1.0 and isinstance(share, float)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "Whole has no key 'number'"),
        ([], r"Whole is \[\]; allowed: a mapping"),
        ({"number": "3"}, "Whole.number is '3'; allowed: int"),
        ({"number": True}, "Whole.number is True; allowed: int"),
        ({"number": 3, "words": None}, "Whole.words is None; allowed: str"),
        ({"number": 3, "parts": {}}, r"Whole.parts is {}; allowed: a list"),
        ({"number": 3, "parts": [{}]}, "Whole.parts has no key 'name'"),
        ({"number": 3, "ends": [1]}, "Whole.ends is .*; allowed: 2 values"),
        ({"number": 3, "options": {"x": "y"}}, "Whole.options.x is 'y'; allowed: a number"),
    ],
)
def test_what_does_not_fit_is_refused_by_its_name(values: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        decode(Whole, values)


def test_message_names_what_is_read_and_stays_short() -> None:
    with pytest.raises(ValueError, match=r"the part\.name is") as found:
        decode(Part, {"name": [0] * 1000}, "the part")
    assert len(str(found.value)) < 150
