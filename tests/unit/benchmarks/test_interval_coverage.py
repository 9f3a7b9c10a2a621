"""The simulation behind the shares of intervals that hold the expected FID."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import interval_coverage
from benchmarks.interval_coverage import KINDS, coverage, main, measure
from diffrop.metrics.interval import Interval


@pytest.mark.parametrize("kind", KINDS)
def test_all_kinds_have_mean_0_and_variance_1(kind: str) -> None:
    values = KINDS[kind](400_000, 4, np.random.default_rng(0))
    assert values.shape == (400_000, 4) and values.dtype == torch.float64
    assert float(values.mean()) == pytest.approx(0.0, abs=0.01)
    assert float(values.var()) == pytest.approx(1.0, abs=0.05)


def test_one_scale_makes_some_images_far_in_all_values() -> None:
    """Then the sizes of two values of an image correlate, and else they do not."""
    for kind, images_differ in (("each value by itself", False), ("one scale for all", True)):
        (draw,) = [draw for name, draw in KINDS.items() if kind in name]
        sizes = draw(200_000, 2, np.random.default_rng(0)).abs().log()  # of light tails
        correlation = float(torch.corrcoef(sizes.T)[0, 1])
        assert (correlation > 0.05) == images_differ


def test_coverage_is_the_share_that_holds_the_mean() -> None:
    ends = [(0.0, 1.0), (0.9, 1.1), (1.2, 2.0)]
    found = [Interval(1.0, low, high, 0.1, 0.95, 9) for low, high in ends]
    assert coverage(found) == pytest.approx(2 / 3)


def test_intervals_hold_with_normal_features_and_fall_short_with_heavy_tails() -> None:
    normal, heavy = (measure(kind, 4, 60, 150) for kind in ("normal", "lognormal, sigma = 1"))
    assert normal.of_fid > 0.88 and normal.of_difference > 0.88
    assert heavy.of_fid < normal.of_fid - 0.05
    assert measure("normal", 4, 60, 150) == normal


def test_command_prints_the_table_and_writes_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    threads = torch.get_num_threads()
    monkeypatch.setattr(interval_coverage, "DESIGNS", ((2, 20), (3, 30)))
    monkeypatch.setattr(interval_coverage, "NUM_REFERENCE", 100)
    words = ["interval_coverage", "--draws", "4", "--json", str(tmp_path / "rows.json")]
    monkeypatch.setattr(sys, "argv", words)
    try:
        main()
    finally:
        torch.set_num_threads(threads)
    shown = capsys.readouterr().out
    assert all(kind in shown for kind in KINDS) and "4 draws a cell" in shown
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert [row["kind"] for row in rows] == [kind for kind in KINDS for _ in range(2)]
