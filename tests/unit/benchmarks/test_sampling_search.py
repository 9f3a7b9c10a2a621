import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks.sampling_methods import ENGINE, METHODS
from benchmarks.sampling_search import Searched, compare, judged, main
from benchmarks.sampling_spaces import (
    INCEPTION_DIM,
    Drawn,
    Gaussians,
    drawn_space,
    omega_curve,
)
from diffrop.engine.guidance_sweep import SweptCheckpoint
from diffrop.metrics.frechet import GaussianStatistics, frechet_distance
from diffrop.recipes import recipe
from diffrop.scoring.sampling_search import MOST_DRAWN
from diffrop.study.sampling_choice import SamplingChoice, sampling_choices

REAL = torch.tensor([3.0, 2.0, 1.0, 1.0], dtype=torch.float64)


def shifted(choice: SamplingChoice) -> tuple[Tensor, Tensor]:
    """Best at omega 1."""
    return REAL * 0.3 * abs(choice.omega - 1), REAL * (1.1 - 0.1 * choice.omega)


@pytest.fixture(scope="module")
def space() -> Gaussians:
    return Gaussians("made", sampling_choices(recipe("digits").experiment), REAL, shifted)


def test_the_value_of_gaussians_is_the_mean_over_noises(space: Gaussians) -> None:
    for choice in space.choices:
        fids = [
            frechet_distance(space.features(choice, repeat), space.reference)
            for repeat in range(40)
        ]
        error = np.std(fids) / len(fids) ** 0.5
        assert space.value(choice, 0) == pytest.approx(np.mean(fids), abs=4 * error)


def test_all_methods_find_what_is_far_better_and_draw_what_they_may(space: Gaussians) -> None:
    rows = {row.method: row for row in compare(space, repeats=1)}
    assert rows["grid"].drawn == len(space.choices) > MOST_DRAWN
    for method, row in rows.items():
        assert row.omega == 1 and row.regret == row.from_best == 0, method
        assert method == "grid" or 0 < row.drawn <= MOST_DRAWN


def test_engines_search_is_judged_by_what_it_drew_and_missed() -> None:
    def row(method: str, drawn: float, regret: float) -> Searched:
        return Searched("made", method, 0, 1.0, "ddim-8", 40.0, regret, regret, drawn)

    others = row("grid", 90.0, 0.5)
    (found,) = judged([others, row(ENGINE, 2.9, 0.015), row(ENGINE, 3.0, 0.004)])
    assert (found.most_drawn, found.mean_regret, found.reached) == (3.0, 0.0095, True)
    assert "drew at most 3.00 times the full N (aim: 3)" in str(found)
    assert str(found).endswith("0.95% (aim: 1%): reached")
    (dear,) = judged([others, row(ENGINE, 3.1, 0.0)])
    (wrong,) = judged([others, row(ENGINE, 1.0, 0.011)])
    assert not dear.reached and not wrong.reached


def test_what_a_space_gave_is_written_before_the_next_begins(
    space: Gaussians, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def broken() -> Gaussians:
        raise KeyboardInterrupt

    monkeypatch.setattr("benchmarks.sampling_search.MADE", {"made": lambda: space, "next": broken})
    out = tmp_path / "found.json"
    words = ["--spaces", "made", "next", "--repeats", "1", "--out", str(out)]
    monkeypatch.setattr("sys.argv", ["sampling_search", *words])
    with pytest.raises(KeyboardInterrupt):
        main()
    content = json.loads(out.read_text())
    assert [row["method"] for row in content["searches"]] == list(METHODS)
    assert [(aim["space"], aim["reached"]) for aim in content["aims"]] == [("made", True)]


def test_curves_over_omega_have_more_features_than_samples() -> None:
    curve = omega_curve("tail", INCEPTION_DIM)
    mean, std = curve.of(curve.choices[-1])
    assert len(mean) == len(std) == len(curve.real) == 2_048 > len(curve.labels)
    assert float(curve.real.square().sum()) == pytest.approx(100)


def test_parts_of_what_was_drawn_are_balanced_and_alike_for_all_candidates() -> None:
    first, other = sampling_choices(recipe("digits").experiment)[:2]
    features = torch.arange(60, dtype=torch.float64)[:, None]  # classes 0, 1, 2, 0, 1, 2, ...
    reference = GaussianStatistics(torch.zeros(1).double(), torch.ones(1, 1).double(), 100)
    labels = torch.arange(12) % 3
    drawn = Drawn("made", [first, other], reference, labels, {first: features, other: -features})
    seen = drawn.features(first, repeat=1)
    assert (seen[:, 0].long() % 3).equal(labels)
    assert drawn.features(other, repeat=1).equal(-seen)
    assert not drawn.features(first, repeat=2).equal(seen)
    fresh = set(range(60)) - set(seen[:, 0].long().tolist())
    assert len(fresh) == 48
    assert drawn.value(first, repeat=1) != drawn.value(first, repeat=2)


def test_a_choice_with_a_guide_is_drawn_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    config = recipe("digits").experiment.with_values({"evaluation.guides": [None, 0.25]})
    choices = sampling_choices(config)
    parts: Any = {None: "network"}, {0.25: "its guide"}, None
    swept = SweptCheckpoint("made", 0, config, *parts, choices)
    seen = []

    def draw(*_: Any, guide: Any = None) -> Tensor:
        seen.append(guide)
        return torch.zeros(20, 1)

    monkeypatch.setattr("benchmarks.sampling_spaces.draw_samples", draw)
    inputs: Any = SimpleNamespace(
        dataset=SimpleNamespace(num_classes=10, image_shape=(1, 8, 8)),
        extractor=SimpleNamespace(extract=lambda images: SimpleNamespace(features=images)),
        reference=SimpleNamespace(statistics={"all": None}),
    )
    drawn_space(swept, inputs, num_samples=10, num_parts=2)
    guided = [choice.sampling.guide is not None for choice in choices]
    assert any(guided)
    assert [guide == "its guide" for guide in seen] == guided
