"""What a study shows of itself in its folder, where a test needs nothing of it."""

from collections.abc import Sequence
from pathlib import Path


def render_study(study_dir: Path, standing: str) -> list[Path]:
    """Draw nothing."""
    return []


def study_answer(study_dir: Path) -> str:
    """Return nothing."""
    return ""


def show_standing(
    study_dir: Path, standing: str, columns: Sequence[str], rows: Sequence[Sequence[str]]
) -> None:
    """Show nothing."""
