import dataclasses

import pytest

from diffrop.analysis.data.load import StudyResults
from diffrop.analysis.figures.confirmation import confirmation_figure
from tests.made.drawn import lines_of, text_of
from tests.made.full_study import with_confirmation


def test_confirmation_draws_every_seed_and_the_mean(full_study: StudyResults) -> None:
    figure = confirmation_figure(full_study)
    (axes,) = figure.axes
    assert full_study.confirmation is not None
    for leader in full_study.confirmation.leaders:
        (seeds,) = lines_of(axes, leader.name)
        assert tuple(seeds.get_xdata()) == leader.by_seed
        (mean,) = lines_of(axes, f"{leader.name} mean")
        assert list(mean.get_xdata()) == [leader.mean]
    text = text_of(figure)
    assert "3 seeds, intervals 95 % over seeds" in text and "better than the baseline" in text
    assert "all share the trunk" in text


@pytest.mark.parametrize(
    ("shifts", "baseline", "texts"),
    [
        ((0.0, 0.0, 400.0), (46.0, 46.2, 45.9), {"+398.0"}),  # a leader's seed went wrong
        ((-400.0, 0.0, 0.0), (446.0, 46.2, 45.9), {"-402.7", "-400.8"}),  # the baseline's did
    ],
)
def test_seed_that_went_wrong_is_an_arrow_with_its_number(
    full_study: StudyResults,
    shifts: tuple[float, ...],
    baseline: tuple[float, ...],
    texts: set[str],
) -> None:
    record = full_study.confirmation
    assert record is not None
    leaders = []
    for place, leader in enumerate(record.leaders):
        moved = shifts if place == 0 or shifts[0] else (0.0,) * 3
        found = tuple(a + b for a, b in zip(leader.by_seed, moved, strict=True))
        mean = sum(found) / 3
        ends = {"mean": mean, "low": mean - 500, "high": mean + 500} if any(moved) else {}
        leaders.append(dataclasses.replace(leader, by_seed=found, **ends))
    retrained = dataclasses.replace(record.baseline, values=baseline)
    study = with_confirmation(full_study, leaders=tuple(leaders), baseline=retrained)
    figure = confirmation_figure(study)
    (axes,) = figure.axes
    low, high = axes.get_xlim()
    assert -6 < low < high < 6 and "arrow: seeds beyond the axis" in text_of(figure)
    assert {arrow.get_marker() for arrow in lines_of(axes, "beyond")} == {
        "<" if shifts[0] else ">"
    }
    broken = {one.name for one in leaders if one.mean != one.by_seed[0] and one.low < -100}
    assert broken and not any(lines_of(axes, f"{name} mean") for name in broken)
    assert texts <= {text.get_text() for text in axes.texts}
