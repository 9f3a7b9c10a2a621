"""Two workers of one training, without Ray: what one worker would have trained."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from diffrop.config import ExperimentConfig
from diffrop.data import load_dataset
from diffrop.training.trainer import Trainer
from tests.made.small import small_experiment

NUM_WORKERS, NUM_STEPS = 2, 3
CASES: dict[str, dict[str, Any]] = {
    "fp32": {"contrastive__tau_0": 10.0},
    "bf16 with CBDM": {"training__precision": "bf16", "objective__loss": "cbdm"},
    "quantile": {
        "form": "hinge",
        "contrastive__margin_rule": "quantile",
        "contrastive__margin": 0.3,
    },
}


def config(case: str) -> ExperimentConfig:
    return small_experiment(**CASES[case])


def trained(case: str) -> dict[str, Any]:
    trainer = Trainer(config(case), load_dataset(config(case).data), torch.device("cpu"))
    rows = [trainer._means([trainer.step()]) for _ in range(NUM_STEPS)]
    return {"rows": rows, "weights": trainer.checkpoint().part("model")}


def worker(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=NUM_WORKERS
    )
    torch.save({case: trained(case) for case in CASES}, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("workers")
    torch.multiprocessing.spawn(worker, args=(str(folder),), nprocs=NUM_WORKERS)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(NUM_WORKERS)]


@pytest.mark.parametrize("case", CASES)
def test_two_workers_train_as_one(workers: list[dict[str, Any]], case: str) -> None:
    first, second = (result[case] for result in workers)
    assert all(second["weights"][name].equal(w) for name, w in first["weights"].items())
    alone = trained(case)
    tolerance = 2e-2 if "bf16" in case else 1e-4
    for ours, theirs in zip(first["rows"], alone["rows"], strict=True):
        assert ours == pytest.approx(theirs, rel=tolerance, abs=1e-6)
    for name, weight in alone["weights"].items():
        torch.testing.assert_close(first["weights"][name], weight, rtol=0, atol=5e-4)
