from pathlib import Path

import pytest

from analysis.data.load import load_study
from analysis.figures.drawing import applicable_figures, draw_figures, save_figures
from analysis.figures.registry import TITLES
from tests.made.analysed_study import NINE_TRIALS, write_study


def test_png_and_svg_of_each_figure_that_applies_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analysis.figures.style.PNG_DPI", 40)
    directory = write_study(tmp_path / "study", trials=NINE_TRIALS[:2])
    study = load_study(directory)
    paths = save_figures(draw_figures(study), directory / "figures")
    entries = applicable_figures(study)
    names = [f"{entry.name}.{kind}" for entry in entries for kind in ("png", "svg")]
    assert [path.name for path in paths] == names
    left_out = set(TITLES) - {entry.name for entry in entries}
    assert left_out >= {"confirmation", "tau_schedules", "sample_neighbours", "class_confusion"}
    assert {path.parent for path in paths} == {directory / "figures"}
    assert all(path.read_bytes().startswith((b"\x89PNG", b"<?xml")) for path in paths)
