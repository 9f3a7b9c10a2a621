import dataclasses

import pytest

from diffrop.metrics.protocol import Protocol, check_comparable, name_note


def test_scores_under_different_protocols_do_not_compare() -> None:
    one = Protocol("inception-v3-compat", "ddim-50", "full training set", 10_000)
    check_comparable([one, one])
    assert one.to_dict()["neighbours"] == 5
    for change in (
        {"num_samples": 50_000},
        {"extractor": "clip-vit-b-32"},
        {"sampler": "ddim-8"},
        {"neighbours": 3},
    ):
        with pytest.raises(ValueError, match=f"different {next(iter(change))}"):
            check_comparable([one, dataclasses.replace(one, **change)])  # type: ignore[arg-type]


def test_names_of_precision_and_recall_say_extractor_and_k() -> None:
    assert name_note("recall", "inception-v3-compat") == "(k = 5, inception-v3-compat)"
    assert name_note("precision", "vgg") == "(k = 5, vgg)"
    assert name_note("fid", "vgg") == ""
