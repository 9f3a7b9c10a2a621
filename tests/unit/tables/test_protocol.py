from pathlib import Path

from diffrop.tables.written import (
    written_table,
)
from tests.made.tables import plan_of, published_setting, results_of


def test_equal_protocols_are_called_so_and_anything_else_is_not(tmp_path: Path) -> None:
    plan = plan_of(4, tmp_path, start=published_setting("cifar10"))
    assert (
        "agree in all that stands above" in written_table(plan, results_of(plan), None).comparison
    )
    for changes in ({"sampler": "ddim-50"}, {"images_seen": 6_400}, {"extractor": "dinov2"}):
        comparison = written_table(plan, results_of(plan, **changes), None).comparison
        assert "not comparable" in comparison
    fewer = plan_of(4, tmp_path, start=published_setting("cifar10"), evaluation__num_samples=100)
    assert "differ in: N (samples)." in written_table(fewer, results_of(fewer), None).comparison
