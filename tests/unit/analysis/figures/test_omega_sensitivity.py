import numpy as np
from scipy import stats

from diffrop.analysis.data.compare import comparable_trials
from diffrop.analysis.data.load import StudyResults
from diffrop.analysis.data.rounds import omega_rows
from diffrop.analysis.figures.omega_sensitivity import omega_losses, omega_sensitivity_figure
from diffrop.analysis.figures.style import form_style
from tests.made.drawn import axes_of, lines_of, points


def test_omega_losses_are_means_with_students_interval(full_study: StudyResults) -> None:
    rows = omega_rows(full_study, comparable_trials(full_study)["number"].tolist(), "fid/all")
    found = omega_losses(rows).set_index(["form", "omega"])
    own = rows[(rows["form"] == "reciprocal")].pivot(
        index="number", columns="omega", values="value"
    )
    losses = own.sub(own.min(axis=1), axis=0)[2.0]
    interval = stats.t.interval(0.95, len(losses) - 1, losses.mean(), stats.sem(losses))
    row = found.loc[("reciprocal", 2.0)]
    assert row["num_trials"] == len(losses) == 4
    np.testing.assert_allclose([row["mean"], row["low"], row["high"]], [losses.mean(), *interval])
    assert np.isnan(found.loc[("negative_l2", 2.0), "low"])  # two trials


def test_omega_sensitivity_draws_the_means(full_study: StudyResults) -> None:
    figure = omega_sensitivity_figure(full_study)
    rows = omega_rows(full_study, comparable_trials(full_study)["number"].tolist(), "fid/all")
    expected = omega_losses(rows)
    axes = axes_of(figure, "fid/all")
    for form, group in expected.groupby("form"):
        (line,) = lines_of(axes, form_style(str(form)).label)
        assert points(line) == set(zip(group["omega"], group["mean"], strict=True))
    bands = {band.get_label() for band in axes.collections}
    assert "reciprocal interval" in bands and "negative_l2 interval" not in bands
    (legend,) = figure.legends
    assert "reciprocal (4 trials)" in [text.get_text() for text in legend.get_texts()]
