"""Text that can be shown anywhere: on a terminal, in a page, in a figure."""

import re

# Controls but for tab and line feed, marks that turn the direction of writing, line and paragraph
# separators, and halves of a surrogate pair, which stand for bytes that are no UTF-8.
_UNSHOWN = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def printable(text: str) -> str:
    """Return a text in which each character that would act, not show, stands as its escape.

    So a name cannot move the cursor, colour the terminal, turn the direction of what follows, or
    end a command because no encoding has it.
    """
    return _UNSHOWN.sub(lambda found: _escape(found[0]), text)


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
