import os
import unicodedata

import pytest

from diffrop.printable import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x07\r", r"\x1b[31mred\x07\x0d"),
        ("safe\u202egnp.exe", r"safe\u202egnp.exe"),
        (os.fsdecode(b"caf\xe9"), r"caf\udce9"),
        ("\x9b2J", r"\x9b2J"),
        ("two\nlines\tand caf\u00e9 \u732b <b> [x] $1$ \U0001f408", None),
    ],
)
def test_what_acts_stands_as_its_escape_and_what_shows_stays(text: str, shown: str | None) -> None:
    assert printable(text) == (text if shown is None else shown)


def test_no_control_or_mark_of_direction_is_left_of_all_of_unicode() -> None:
    """Unicode's own data, in Python, says which characters those are."""
    everything = printable("".join(map(chr, range(0x110000))))
    left = set(everything)
    directions = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    assert not [c for c in left if unicodedata.category(c) in {"Cc", "Cs"} and c not in "\n\t"]
    assert not [c for c in left if unicodedata.bidirectional(c) in directions]
    everything.encode()
