import mmap
import time

import torch

from diffrop.cost.probe import measure_speeds, peak_memory_mib, stand_ins
from diffrop.data import load_dataset
from tests.made.small import small_experiment


def test_probe_measures_all_and_leaves_threads_and_rates_positive() -> None:
    config = small_experiment()
    dataset = load_dataset(config.data)
    found = stand_ins(config, dataset)
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
    assert stand_ins(elsewhere, dataset) is None
    assert measure_speeds(config, dataset, None, torch.device("cpu"), limit_s=0.01).metrics_s == 0


def test_peak_memory_is_seen_even_if_it_is_freed_again() -> None:
    size, deadline = 64 * 2**20, time.monotonic() + 10
    with peak_memory_mib(torch.device("cpu")) as memory:
        held = mmap.mmap(-1, size)  # new pages: malloc may have some left of earlier tests
        torch.frombuffer(held, dtype=torch.uint8).fill_(1)
        while memory[0] < 40 and time.monotonic() < deadline:
            time.sleep(0.01)
        held.close()
    assert 40 < memory[0] < 400
