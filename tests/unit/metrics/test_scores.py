import pytest
import torch

from diffrop.metrics.inception import inception_score
from diffrop.metrics.kernel import kernel_estimate
from diffrop.metrics.neighbours import precision_recall
from diffrop.metrics.reference import Reference
from tests.made.features import GROUPS, fitted, in_classes, in_group, report


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
