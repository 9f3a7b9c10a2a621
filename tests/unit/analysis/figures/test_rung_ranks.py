import dataclasses

from scipy.stats import kendalltau

from diffrop.analysis.data.load import StudyResults
from diffrop.analysis.figures.rung_ranks import rung_ranks, rung_ranks_figure
from tests.made.drawn import lines_of, text_of
from tests.made.full_card import RUNGS
from tests.made.full_study import AUDITED


def test_rung_ranks_are_those_of_the_trials_scored_in_full(full_study: StudyResults) -> None:
    ranks = rung_ranks(full_study)
    complete = full_study.trials[full_study.trials["state"] == "COMPLETE"].set_index("number")
    for images, group in ranks.groupby("images"):
        assert set(group["number"]) == set(complete.index)
        assert group["num_samples"].unique().tolist() == [RUNGS[int(str(images))][0]]
        final = complete.loc[group["number"], "value"].rank().tolist()
        assert group["final_rank"].tolist() == final
        rows = full_study.measurements
        rows = rows[(rows["images_seen"] == images) & (rows["score"] == "fid/all")]
        rows = rows[rows["round_samples"] == RUNGS[int(str(images))][0]]
        at_rung = rows.groupby("number")["value"].min().loc[group["number"]]
        assert group["rung_rank"].tolist() == at_rung.rank().tolist()
    assert set(ranks.loc[ranks["audited"], "number"]) == set(AUDITED)


def test_rung_figure_has_the_stored_tau_its_interval_and_the_conclusion(
    full_study: StudyResults,
) -> None:
    figure = rung_ranks_figure(full_study)
    assert [axes.get_label() for axes in figure.axes] == ["6016", "12032"]
    title = figure.axes[0].get_title(loc="left")
    assert title == "6,016 images, N = 250\ntau 0.62 [0.21, 0.87]\n13 trials, 2 audited"
    assert "The rungs rank as the end does" in text_of(figure)
    (ring,) = lines_of(figure.axes[0], "audited")
    assert len(ring.get_xdata()) == len(AUDITED)


def test_rung_figure_without_a_conclusion_has_tau_and_no_interval(
    full_study: StudyResults,
) -> None:
    study = dataclasses.replace(full_study, agreement=None)
    ranks = rung_ranks(study)
    group = ranks[ranks["images"] == 6_016]
    tau = kendalltau(group["rung_rank"], group["final_rank"]).statistic
    title = rung_ranks_figure(study).axes[0].get_title(loc="left")
    assert f"tau {tau:.2f}, no interval (13 trials)" in title
