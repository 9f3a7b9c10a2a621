import mmap
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from diffrop.config import EvaluationConfig
from diffrop.cost.probe import measure_speeds, peak_memory_mib, stand_ins
from diffrop.data import load_dataset
from diffrop.metrics.extractors import needs_download
from tests.made.small import small_experiment


def test_probe_measures_all_and_leaves_threads_and_rates_positive(tmp_path: Path) -> None:
    config = small_experiment()
    dataset = load_dataset(config.data)
    found = stand_ins(config, dataset, tmp_path)
    assert found is not None
    threads = torch.get_num_threads()
    probe = measure_speeds(
        config, dataset, found[0], torch.device("cpu"), reference=found[1], limit_s=0.2
    )
    assert torch.get_num_threads() == threads
    assert 1 <= probe.num_steps <= 50
    for name in (
        "train_images_per_s",
        "denoise_images_per_s",
        "feature_images_per_s",
        "fid_s",
        "metrics_s",
        "checkpoint_mib",
    ):
        assert getattr(probe, name) > 0, name
    elsewhere = config.with_values({"evaluation.extractor": "inception-v3-compat"})
    assert stand_ins(elsewhere, dataset, tmp_path) is None
    assert measure_speeds(config, dataset, None, torch.device("cpu"), limit_s=0.01).metrics_s == 0


class Slow(nn.Module):
    """Features of seven numbers, of an image in two milliseconds."""

    def forward(self, images: Tensor) -> Tensor:
        time.sleep(0.002 * len(images))
        return images.flatten(1)[:, :7].float()


def test_features_of_every_extractor_that_needs_no_download_are_timed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    own = ModuleType("own_extractor")
    own.slow = Slow  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "own_extractor", own)
    config = small_experiment(
        evaluation__extractor="own_extractor:slow", evaluation__metrics=["fid"]
    )
    dataset = load_dataset(config.data)
    found = stand_ins(config, dataset, tmp_path)
    assert found is not None and found[1].features.shape == (1797, 7)
    assert sorted(found[1].statistics) == ["all", "few", "many", "medium"]
    probe = measure_speeds(
        config, dataset, found[0], torch.device("cpu"), reference=found[1], limit_s=0.2
    )
    assert probe.feature_images_per_s is not None
    assert 50 < probe.feature_images_per_s < 500
    assert probe.fid_s > 0


def test_weights_that_lie_here_need_no_download(tmp_path: Path) -> None:
    def needed(**values: str) -> bool:
        return needs_download(EvaluationConfig(**values), tmp_path)  # type: ignore[arg-type]

    url = f"https://x.example/w#sha256={'ab' * 32}"
    assert needed(extractor="inception-v3-compat") and needed(extractor="dinov2-vit-b-14")
    assert needed(extractor="inception-v3-compat", extractor_weights=url)
    (tmp_path / f"weights-{'ab' * 8}").touch()
    assert not needed(extractor="inception-v3-compat", extractor_weights=url)
    assert not needed(extractor="inception-v3-compat", extractor_weights="inception.pth")
    assert not needed(extractor="efficientnet-lite0")


def test_peak_memory_is_seen_even_if_it_is_freed_again() -> None:
    size, deadline = 64 * 2**20, time.monotonic() + 10
    with peak_memory_mib(torch.device("cpu")) as memory:
        held = mmap.mmap(-1, size)  # new pages: malloc may have some left of earlier tests
        torch.frombuffer(held, dtype=torch.uint8).fill_(1)
        while memory[0] < 40 and time.monotonic() < deadline:
            time.sleep(0.01)
        held.close()
    assert 40 < memory[0] < 400
