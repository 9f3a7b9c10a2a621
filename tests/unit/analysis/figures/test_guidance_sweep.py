import pandas as pd

from diffrop.analysis.figures.guidance_sweep import COLUMNS, guidance_sweep_figure
from tests.made.drawn import axes_of, lines_of, text_of

FIDS = {"baseline": 44.0, "hinge": 41.0, "reciprocal": 43.0}


def sweep(**factors: float) -> pd.DataFrame:
    """Three checkpoints at four omegas, on 200 samples of which 60 are of few-shot classes."""
    rows = [
        {
            "checkpoint": name,
            "form": "none" if name == "baseline" else name,
            "images_seen": 24_000,
            "omega": omega,
            "sampler": "ddim-10",
            "score": score,
            "value": factors.get(name, 1.0) * (fid + 9 * (omega - 1) ** 2),
            "num_samples": count,
            "extractor": "classifier-digits",
            "reference": "full training set",
        }
        for name, fid in FIDS.items()
        for omega in (0.0, 0.5, 1.0, 2.0)
        for score, count in (("fid/all", 200), ("fid/few", 60))
    ]
    frame = pd.DataFrame(rows)
    return frame.assign(low=frame["value"] - 1, high=frame["value"] + 1)[list(COLUMNS)]


def test_line_far_above_the_others_is_an_arrow_with_its_best() -> None:
    figure = guidance_sweep_figure(sweep(hinge=10.0))
    before = axes_of(guidance_sweep_figure(sweep()), "fid/all")
    axes = axes_of(figure, "fid/all")
    (arrow,) = lines_of(axes, "beyond")
    assert list(arrow.get_xdata()) == [1.0]
    assert [text.get_text() for text in axes.texts] == ["410.0"]
    assert axes.get_ylim()[1] < 1.2 * before.get_ylim()[1]
    assert "arrow: the best of a line beyond the axis" in text_of(figure)


def test_scores_of_few_samples_have_no_panel_beside_those_of_many() -> None:
    assert [axes.get_label() for axes in guidance_sweep_figure(sweep()).axes] == ["fid/all"]
    few = sweep().assign(num_samples=36)  # asked for: there is nothing else
    assert len(guidance_sweep_figure(few).axes) == 2
