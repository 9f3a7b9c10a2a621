import dataclasses

import pytest

from diffrop.metrics.protocol import Protocol, check_comparable


def test_scores_under_different_protocols_do_not_compare() -> None:
    one = Protocol("inception-v3-compat", "ddim-50", "full training set", 10_000)
    check_comparable([one, one])
    for change in ({"num_samples": 50_000}, {"extractor": "clip-vit-b-32"}, {"sampler": "ddim-8"}):
        with pytest.raises(ValueError, match=f"different {next(iter(change))}"):
            check_comparable([one, dataclasses.replace(one, **change)])  # type: ignore[arg-type]
