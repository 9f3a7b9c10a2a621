"""Breaks text into lines by its measured width, so that captions fill a figure and end inside."""

from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextToPath

POINTS_PER_INCH = 72.0
HINTING = 1.07
"""How much wider a raster image of common resolution sets small text than the font is drawn."""


def text_width_in(text: str, size_pt: float) -> float:
    """Return the width in inches of one line in the common font."""
    font = FontProperties(size=size_pt)
    width, _, _ = TextToPath().get_text_width_height_descent(text, font, ismath=False)
    return HINTING * float(width) / POINTS_PER_INCH


def wrap_clauses(text: str, width_in: float, size_pt: float) -> str:
    """Break a line at its semicolons, and inside a clause only where that is wider than a line."""
    lines = [""]
    for clause in text.split("; "):
        joined = f"{lines[-1]}; {clause}" if lines[-1] else clause
        if text_width_in(joined, size_pt) <= width_in:
            lines[-1] = joined
            continue
        if lines[-1]:
            lines[-1] += ";"
            lines.append("")
        *full, lines[-1] = _wrap_words(clause, width_in, size_pt)
        lines[-1:-1] = full
    return "\n".join(lines)


def _wrap_words(text: str, width_in: float, size_pt: float) -> list[str]:
    """Break text at its spaces, and a word only where that alone is wider than a line."""
    lines = [""]
    for word in text.split(" "):
        joined = f"{lines[-1]} {word}" if lines[-1] else word
        if text_width_in(joined, size_pt) <= width_in:
            lines[-1] = joined
            continue
        parts = _break_word(word, width_in, size_pt)
        lines = [*lines, *parts] if lines[-1] else [*lines[:-1], *parts]
    return lines


def _break_word(word: str, width_in: float, size_pt: float) -> list[str]:
    if text_width_in(word, size_pt) <= width_in:
        return [word]
    parts = [""]
    for character in word:
        if parts[-1] and text_width_in(parts[-1] + character, size_pt) > width_in:
            parts.append("")
        parts[-1] += character
    return parts
