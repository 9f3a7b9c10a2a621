from diffrop.analysis.data.load import StudyResults
from diffrop.analysis.figures.learning_curves import learning_curves_figure, rung_scores
from tests.made.drawn import axes_of, lines_of, points
from tests.made.full_study import TRIALS


def test_learning_curves_do_not_join_unequal_n(full_study: StudyResults) -> None:
    figure = learning_curves_figure(full_study)
    axes = axes_of(figure, "fid/all")
    assert all(len(line.get_xdata()) == 1 for line in lines_of(axes, "t001"))
    expected = rung_scores(full_study)
    drawn = {y for line in lines_of(axes, "t001") for _, y in points(line)}
    assert drawn == set(expected.loc[expected["number"] == 1, "value"]) and len(drawn) == 3
    counts = {text.get_text() for text in axes.texts}
    assert counts == {"N = 250", "N = 500", "N = 1,000"}
    losses = axes_of(figure, "loss/ddpm")
    assert {line.get_label() for line in losses.lines} >= {f"t{t[0]:03d}" for t in TRIALS}
    pruned = [line.get_xdata()[0] for line in lines_of(losses, "PRUNED")]
    assert len(pruned) == 3 and max(pruned) <= 12_032


def test_learning_curves_join_rungs_of_equal_n(study: StudyResults) -> None:
    axes = axes_of(learning_curves_figure(study), "fid/all")
    lengths = sorted(len(line.get_xdata()) for line in lines_of(axes, "t001"))
    assert lengths == [1, 2]  # two rungs at N = 300, the end at 1,000
