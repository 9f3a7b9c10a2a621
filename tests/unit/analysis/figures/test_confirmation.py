from diffrop.analysis.data.load import StudyResults
from diffrop.analysis.figures.confirmation import confirmation_figure
from tests.made.drawn import lines_of, text_of


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
