"""FID against evaluations, and what fewer of them cost."""

import dataclasses

import pandas as pd
import pytest

from diffrop.analysis.data.evaluations import checkpoint_rows, cost_sentence, on_front
from diffrop.analysis.data.load import StudyResults
from diffrop.analysis.figures.evaluations import applies, evaluations_figure
from diffrop.analysis.report.sections import cost_section
from tests.made.drawn import axes_of, lines_of, points, sentence_of
from tests.made.spoiled_study import with_worse

FIDS = {4: 60.0, 8: 42.0, 16: 40.0, 32: 40.5}
"""Of the best trial, by evaluations."""


@pytest.fixture
def costly(study: StudyResults) -> StudyResults:
    """The study, each of whose checkpoints was also sampled at other costs, on N = 200 and 500."""
    known = study.measurements[study.measurements["score"] == "fid/all"]
    known = known.drop_duplicates(["number", "images_seen"])
    best = study.trials.loc[study.trials["rank"] == 1, "number"].iloc[0]
    rows = []
    for row in known.to_dict("records"):
        shift = 0.0 if row["number"] == best else 5.0 + row["number"]
        for count, value in FIDS.items():
            for num_samples in (200, 500) if count != 32 else (200,):
                own = {"value": value + shift, "evaluations": count, "sampler": f"ddim-{count}"}
                sizes = {"num_samples": num_samples, "round_samples": num_samples}
                rows.append(row | own | sizes | {"omega": 0.0})
    frame = pd.DataFrame(rows, columns=study.measurements.columns)
    return dataclasses.replace(study, measurements=frame.astype(study.measurements.dtypes))


def test_rows_of_a_rung_are_of_the_round_with_the_most_ways(costly: StudyResults) -> None:
    rows = checkpoint_rows(costly)
    assert set(rows["round_samples"]) == {200}
    counted = rows.groupby(["number", "images_seen"]).size()
    assert set(counted) == {len(FIDS)}
    assert len(counted) == len(costly.measurements.groupby(["number", "images_seen"]))


def test_front_holds_what_nothing_cheaper_is_as_good_as(costly: StudyResults) -> None:
    rows = checkpoint_rows(costly)
    for _, own in rows.groupby(["number", "images_seen"]):
        expected = [
            not any(
                (other["evaluations"] <= row["evaluations"] and other["value"] < row["value"])
                or (other["evaluations"] < row["evaluations"] and other["value"] <= row["value"])
                for other in own.to_dict("records")
            )
            for row in own.to_dict("records")
        ]
        assert list(on_front(own)) == expected == [True, True, True, False]


def test_every_checkpoint_has_its_front_in_the_panel_of_its_rung(costly: StudyResults) -> None:
    assert applies(costly)
    figure, rows = evaluations_figure(costly), checkpoint_rows(costly)
    for images, own in rows.groupby("images_seen"):
        axes = axes_of(figure, f"{images:,} images")
        fronts = [points(line) for line in lines_of(axes, "front")]
        expected = [
            {
                (row["evaluations"], row["value"])
                for row in trial[on_front(trial)].to_dict("records")
            }
            for _, trial in own.groupby("number")
        ]
        assert sorted(map(sorted, fronts)) == sorted(map(sorted, expected))
        dots = [p for line in axes.lines if line.get_label() != "front" for p in points(line)]
        assert len(dots) == len(own)
    assert len(figure.axes) == rows["images_seen"].nunique()


def test_one_sentence_says_what_fewer_evaluations_cost(costly: StudyResults) -> None:
    sentence = cost_sentence(costly)
    best = costly.trials.loc[costly.trials["rank"] == 1, "number"].iloc[0]
    assert sentence == (
        f"Fewer evaluations: t{best:03d} has fid/all 40.0 with 16 evaluations an image (ddim-16 "
        "at omega 0); 8 cost +5.0% (42.0, ddim-8 at omega 0), 4 cost +50.0% (60.0, ddim-4 at "
        "omega 0), on 200 samples and the same noise."
    )
    assert sentence in cost_section(costly).sentences


def test_study_without_counts_says_so(study: StudyResults) -> None:
    rows = study.measurements.assign(evaluations=pd.NA)
    bare = dataclasses.replace(study, measurements=rows)
    assert not applies(bare) and cost_sentence(bare) == ""
    sentence = sentence_of(evaluations_figure(bare))
    assert "No checkpoint was scored at two numbers of evaluations on 100 samples" in sentence


def test_rungs_of_few_samples_have_no_panel(costly: StudyResults) -> None:
    rows = costly.measurements
    first = rows["images_seen"].min()
    few = rows.assign(num_samples=rows["num_samples"].mask(rows["images_seen"] == first, 36))
    figure = evaluations_figure(dataclasses.replace(costly, measurements=few))
    shown = {axes.get_label() for axes in figure.axes}
    expected = {f"{images:,} images" for images in rows["images_seen"].unique()}
    assert shown == expected - {f"{first:,} images"}
    none = dataclasses.replace(costly, measurements=rows.assign(num_samples=36))
    assert not applies(none)


def test_rung_where_all_have_one_cost_has_no_panel(costly: StudyResults) -> None:
    rows = costly.measurements
    first = rows["images_seen"].min()
    single = rows[(rows["images_seen"] != first) | (rows["evaluations"] == 8)]
    shown = evaluations_figure(dataclasses.replace(costly, measurements=single)).axes
    assert f"{first:,} images" not in {axes.get_label() for axes in shown} and shown
    one_cost = rows[rows["evaluations"] == 8]
    assert not applies(dataclasses.replace(costly, measurements=one_cost))


def test_broken_checkpoint_is_an_arrow_at_the_cost_of_its_best(costly: StudyResults) -> None:
    spoiled = with_worse(costly, [2])
    before, after = evaluations_figure(costly), evaluations_figure(spoiled)
    for axes in after.axes:
        (arrow,) = lines_of(axes, "beyond")
        assert list(arrow.get_xdata()) == [16]
        assert [text.get_text() for text in axes.texts] == [f"{10 * (FIDS[16] + 7):.1f}"]
        assert axes.get_ylim()[1] < 1.5 * axes_of(before, str(axes.get_label())).get_ylim()[1]


def test_axis_names_the_costs(costly: StudyResults) -> None:
    for axes in evaluations_figure(costly).axes:
        assert [label.get_text() for label in axes.get_xticklabels()] == list(map(str, FIDS))
