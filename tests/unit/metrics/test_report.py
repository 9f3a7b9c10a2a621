import dataclasses

import pytest
import torch
from torch import Tensor

from diffrop.errors import NonFiniteError
from diffrop.metrics.features import Extraction
from diffrop.metrics.frechet import frechet_distance, gaussian_statistics
from diffrop.metrics.inception import inception_score
from diffrop.metrics.intervals import fid_interval
from diffrop.metrics.kernel import kernel_estimate
from diffrop.metrics.neighbours import precision_recall
from diffrop.metrics.protocol import Protocol, check_comparable
from diffrop.metrics.reference import Reference, balanced_rows
from diffrop.metrics.report import ShotReport, evaluate
from tests.made.features import in_classes

GROUPS = {"many": [0, 1], "medium": [2, 3, 4], "few": [5, 6]}


def fitted(count: int = 700, **known: tuple[Tensor, Tensor]) -> Reference:
    return Reference.fit(*in_classes(count, 1), GROUPS, **known)


def report(x: Tensor, labels: Tensor, reference: Reference, **options: object) -> ShotReport:
    samples = Extraction("made", x, options.pop("logits", None), options.pop("predictions", None))  # type: ignore[arg-type]
    return evaluate(samples, labels, reference, sampler="ddim-2", **options)  # type: ignore[arg-type]


def in_group(labels: Tensor, group: str) -> Tensor:
    return torch.isin(labels, torch.tensor(GROUPS[group]))


def test_fid_is_against_the_groups_own_images_and_fid_full_against_all() -> None:
    x, labels = in_classes(140, 0)
    real, real_labels = in_classes(700, 1)
    found = report(x, labels, fitted(), metrics=("fid",))
    few, few_real = x[in_group(labels, "few")], real[in_group(real_labels, "few")]
    assert found.scores["fid/few"] == pytest.approx(frechet_distance(few, few_real), rel=1e-9)
    assert found.scores["fid_full/few"] == pytest.approx(frechet_distance(few, real), rel=1e-9)
    assert found.scores["fid/all"] == pytest.approx(frechet_distance(x, real), rel=1e-9)
    assert "fid_full/all" not in found.scores


def test_other_metrics_take_equal_numbers_of_reference_images_spread_over_classes() -> None:
    x, labels = in_classes(140, 0)
    reference = fitted()
    found = report(x, labels, reference)
    rows = reference.rows([5, 6], 40)
    assert torch.bincount(reference.labels[rows], minlength=7).tolist() == [0] * 5 + [20, 20]
    few, real = x[in_group(labels, "few")], reference.features[rows]
    assert found.scores["kid/few"] == pytest.approx(kernel_estimate(few, real).value, rel=1e-6)
    expected = precision_recall(few, real, 5)
    assert found.scores["precision/few"] == expected.precision
    assert found.scores["recall/few"] == expected.recall
    assert {"f_8/few", "f_1_8/few"} <= found.scores.keys()  # 40 images for 2 x 20 clusters
    assert found.num_samples["few"] == 40 and found.num_reference["few"] == 200


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


def test_every_class_of_the_reference_has_the_same_mass() -> None:
    real, real_labels = in_classes(700, 1)
    uneven = torch.cat([torch.arange(700), (real_labels == 0).nonzero().flatten()])
    even = fitted().statistics["all"]
    repeated = Reference.fit(real[uneven], real_labels[uneven], GROUPS).statistics["all"]
    torch.testing.assert_close(even.mean, repeated.mean)
    rows = Reference.fit(real[uneven], real_labels[uneven], GROUPS).rows(range(7), 10_000)
    assert torch.bincount(real_labels[uneven][rows]).tolist() == [100] * 7


def test_classes_are_scored_where_there_are_a_hundred_images_of_each() -> None:
    x, labels = in_classes(700, 0)
    found = report(x, labels, fitted(), metrics=("fid", "kid"))
    real, real_labels = in_classes(700, 1)
    expected = frechet_distance(x[labels == 3], real[real_labels == 3])
    assert found.class_scores["fid/class_3"] == pytest.approx(expected, rel=1e-9)
    assert len(found.class_scores) == 14 and not any("class" in key for key in found.scores)
    assert not report(x[:693], labels[:693], fitted(), metrics=("fid",)).class_scores


def test_logits_and_predictions_give_inception_score_and_accuracy() -> None:
    x, labels = in_classes(140, 0)
    wrong = labels.clone()
    wrong[labels == 5] = 0
    logits = 3 * torch.nn.functional.one_hot(wrong).float()
    scores = ("inception_score",)
    found = report(x, labels, fitted(), metrics=scores, logits=logits, predictions=wrong)
    assert found.scores["accuracy/few"] == 0.5
    assert found.scores["accuracy/all"] == pytest.approx(6 / 7)
    assert found.scores["inception_score/all"] == inception_score(logits).mean
    assert not report(x, labels, fitted(), metrics=scores).scores


def test_memorisation_needs_training_and_heldout_images() -> None:
    x, labels = in_classes(140, 0)
    training, heldout = in_classes(140, 5), in_classes(140, 6)
    score = ("memorisation",)
    assert not report(x, labels, fitted(training=training), metrics=score).scores
    reference = fitted(training=training, heldout=heldout)
    honest = report(x, labels, reference, metrics=score).scores
    assert abs(honest["memorisation_z/all"]) < 3
    copied = report(training[0] + 1e-4, training[1], reference, metrics=score).scores
    assert copied["memorisation/few"] > 0.95


def test_fid_at_infinity_is_left_out_below_twice_as_many_samples_as_values() -> None:
    x, labels = in_classes(84, 0, dim=14)
    reference = Reference.fit(*in_classes(700, 1, dim=14), GROUPS)
    found = report(x, labels, reference, metrics=("fid", "fid_infinity")).scores
    assert "fid_infinity/all" in found and "fid_infinity/few" not in found


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


def test_scores_under_different_protocols_do_not_compare() -> None:
    one = Protocol("inception-v3-compat", "ddim-50", "full training set", 10_000)
    check_comparable([one, one])
    for change in ({"num_samples": 50_000}, {"extractor": "clip-vit-b-32"}, {"sampler": "ddim-8"}):
        with pytest.raises(ValueError, match=f"different {next(iter(change))}"):
            check_comparable([one, dataclasses.replace(one, **change)])  # type: ignore[arg-type]


def test_report_is_plain_data() -> None:
    import json

    x, labels = in_classes(140, 0)
    found = report(x, labels, fitted(), metrics=("fid",))
    stored = json.loads(json.dumps(found.to_dict()))
    assert stored["scores"] == found.scores and stored["protocol"]["num_samples"] == 140
    assert stored["intervals"]["fid/all"]["low"] < stored["scores"]["fid/all"]


def test_balanced_rows_take_turns() -> None:
    labels = torch.tensor([1, 1, 0, 2, 0, 1, 2, 2])
    assert balanced_rows(labels, [0, 1, 2]).tolist() == [2, 0, 3, 4, 1, 6]
    assert balanced_rows(labels, [1]).tolist() == [0, 1, 5]


def test_class_without_a_reference_image_is_left_out_of_its_group() -> None:
    real, real_labels = in_classes(700, 1)
    kept = real_labels != 6
    reference = Reference.fit(real[kept], real_labels[kept], {**GROUPS, "rare": [6]})
    assert reference.groups["few"] == [5] and "rare" not in reference.groups
    expected = gaussian_statistics(real[real_labels == 5])
    torch.testing.assert_close(reference.statistics["few"].mean, expected.mean)


def test_a_shot_group_of_one_class_has_every_metric() -> None:
    x, labels = in_classes(140, 0, num_classes=2)
    reference = Reference.fit(*in_classes(700, 1, num_classes=2), {"many": [0], "few": [1]})
    logits = torch.randn(140, 4, generator=torch.Generator().manual_seed(0))
    found = report(x, labels, reference, logits=logits).scores
    assert {"inception_score/few", "f_8/few", "fid_infinity/few"} <= found.keys()
