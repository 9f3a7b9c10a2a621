import pytest
import torch

from diffrop.errors import NonFiniteError
from diffrop.metrics.frechet import frechet_distance
from diffrop.metrics.intervals import fid_interval
from diffrop.metrics.reference import Reference
from tests.made.features import fitted, in_classes, in_group, report


def test_fid_is_against_the_groups_own_images_and_fid_full_against_all() -> None:
    x, labels = in_classes(140, 0)
    real, real_labels = in_classes(700, 1)
    found = report(x, labels, fitted(), metrics=("fid",))
    few, few_real = x[in_group(labels, "few")], real[in_group(real_labels, "few")]
    assert found.scores["fid/few"] == pytest.approx(frechet_distance(few, few_real), rel=1e-9)
    assert found.scores["fid_full/few"] == pytest.approx(frechet_distance(few, real), rel=1e-9)
    assert found.scores["fid/all"] == pytest.approx(frechet_distance(x, real), rel=1e-9)
    assert "fid_full/all" not in found.scores


def test_shot_groups_take_equal_numbers_spread_over_their_classes() -> None:
    x, labels = in_classes(140, 0)  # 20 a class: 40 many, 60 medium, 40 few
    found = report(x, labels, fitted(), metrics=("fid",))
    assert found.num_samples == {"all": 140, "many": 40, "medium": 40, "few": 40}
    rows = torch.cat([(labels == c).nonzero().flatten()[:14] for c in (2, 3, 4)])
    rows = rows[(torch.arange(42) != 41) & (torch.arange(42) != 27)]  # 14 + 13 + 13 of 40
    real, real_labels = in_classes(700, 1)
    medium = real[in_group(real_labels, "medium")]
    assert found.scores["fid/medium"] == pytest.approx(frechet_distance(x[rows], medium), rel=1e-9)
    assert sorted(found.labels["medium"].tolist()) == sorted(labels[rows].tolist())


def test_intervals_are_those_of_the_groups_samples_within_classes() -> None:
    x, labels = in_classes(140, 0)
    found = report(x, labels, fitted(), metrics=("fid", "kid"))
    real, real_labels = in_classes(700, 1)
    few = in_group(labels, "few")
    expected = fid_interval(x[few], real[in_group(real_labels, "few")], labels[few])
    low, high = found.intervals["fid/few"].low, found.intervals["fid/few"].high
    assert (low, high) == pytest.approx((expected.low, expected.high), rel=1e-6)
    assert {"fid/all", "fid_full/many", "kid/all"} <= found.intervals.keys()
    assert not report(x, labels, fitted(), metrics=("fid",), details=False).intervals


def test_classes_are_scored_where_there_are_a_hundred_images_of_each() -> None:
    x, labels = in_classes(700, 0)
    found = report(x, labels, fitted(), metrics=("fid", "kid"))
    real, real_labels = in_classes(700, 1)
    expected = frechet_distance(x[labels == 3], real[real_labels == 3])
    assert found.class_scores["fid/class_3"] == pytest.approx(expected, rel=1e-9)
    assert len(found.class_scores) == 14 and not any("class" in key for key in found.scores)
    assert not report(x[:693], labels[:693], fitted(), metrics=("fid",)).class_scores


def test_non_finite_features_are_an_error_not_a_score() -> None:
    x, labels = in_classes(70, 0)
    x[3, 1] = float("inf")
    with pytest.raises(NonFiniteError, match=r"image 3"):
        report(x, labels, fitted())


def test_group_with_one_sample_is_left_out() -> None:
    x, labels = in_classes(70, 0)
    reference = Reference.fit(*in_classes(700, 1), {"many": [0], "few": [1]})
    kept = (labels != 1) | (torch.arange(70) == 1)
    assert set(report(x[kept], labels[kept], reference).num_samples) == {"all"}


def test_class_without_samples_leaves_its_group_with_the_others() -> None:
    x, labels = in_classes(140, 0)
    found = report(x[labels != 6], labels[labels != 6], fitted(), metrics=("fid",))
    assert found.num_samples["few"] == 20


def test_report_is_plain_data() -> None:
    import json

    x, labels = in_classes(140, 0)
    found = report(x, labels, fitted(), metrics=("fid",))
    stored = json.loads(json.dumps(found.to_dict()))
    assert stored["scores"] == found.scores and stored["protocol"]["num_samples"] == 140
    assert stored["intervals"]["fid/all"]["low"] < stored["scores"]["fid/all"]


def test_a_shot_group_of_one_class_has_every_metric() -> None:
    x, labels = in_classes(140, 0, num_classes=2)
    reference = Reference.fit(*in_classes(700, 1, num_classes=2), {"many": [0], "few": [1]})
    logits = torch.randn(140, 4, generator=torch.Generator().manual_seed(0))
    found = report(x, labels, reference, logits=logits).scores
    assert {"inception_score/few", "f_8/few", "fid_infinity/few"} <= found.keys()
