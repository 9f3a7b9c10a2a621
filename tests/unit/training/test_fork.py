from pathlib import Path

import pytest
import torch

from diffrop.checkpoint_file import Checkpoint, read_checkpoint, write_checkpoint
from diffrop.config import ExperimentConfig
from diffrop.data import Dataset, load_dataset
from diffrop.errors import CheckpointError
from diffrop.training.fork import check_fork
from diffrop.training.trainer import Trainer
from tests.made.small import small_experiment
from tests.made.trainings import CPU, measured

LENGTHS = {"training__ema_lengths": [0.1]}


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return load_dataset(small_experiment().data)


def trained(config: ExperimentConfig, dataset: Dataset, steps: int = 2) -> Checkpoint:
    trainer = Trainer(config, dataset, CPU)
    measured(trainer, steps)
    return trainer.checkpoint()


@pytest.mark.parametrize(
    "changes",
    [
        {"form": "reciprocal"},
        {"form": "exponential", "model__dropout": 0.2, "data__horizontal_flip": True},
        {"form": "hinge", "contrastive__margin_rule": "quantile", "contrastive__margin": 0.3},
        {"form": "negative_l2", "objective__loss": "cbdm"},
    ],
)
def test_fork_is_bitwise_the_run_that_switches_its_loss_there(
    tmp_path: Path, dataset: Dataset, changes: dict[str, object]
) -> None:
    changes = changes | LENGTHS
    switching = small_experiment(**changes, contrastive__start_images=64)  # type: ignore[arg-type]
    whole = Trainer(switching, dataset, CPU)
    expected = measured(whole, 5)

    baseline = small_experiment(**(changes | {"form": "none"}))  # type: ignore[arg-type]
    write_checkpoint(tmp_path / "c.safetensors", trained(baseline, dataset))
    fork = Trainer(small_experiment(**changes), dataset, CPU)  # type: ignore[arg-type]
    fork.fork(read_checkpoint(tmp_path / "c.safetensors"))
    assert fork.images_seen == 64
    assert measured(fork, 3) == expected[2:]
    assert "loss/pcl" in expected[2] and "loss/pcl" not in expected[1]
    ours, theirs = fork.checkpoint().tensors, whole.checkpoint().tensors
    assert ours.keys() == theirs.keys()
    assert {name.partition(".")[0] for name in ours} >= {"model", "ema", "optimizer"}
    assert any(name.startswith("ema_0.1.") for name in ours)
    for name, tensor in ours.items():
        torch.testing.assert_close(tensor, theirs[name], rtol=0, atol=0, equal_nan=True)


def test_fork_takes_new_rates_and_seeds(dataset: Dataset) -> None:
    start = trained(small_experiment("none"), dataset)
    found = []
    for changes in ({}, {"training__learning_rate": 1e-3}, {"training__seed": 3}):
        fork = Trainer(small_experiment("none", **changes), dataset, CPU)
        fork.fork(start)
        measured(fork, 1)
        found.append(torch.cat([p.flatten() for p in fork.model.parameters()]))
    assert not found[0].equal(found[1]) and not found[0].equal(found[2])


def test_running_margins_go_on_where_they_mean_the_same(dataset: Dataset) -> None:
    hinge = {"contrastive__margin_rule": "quantile", "contrastive__margin": 0.3}
    start = trained(small_experiment("hinge", **hinge), dataset)
    name = "objective.pcl.margin_quantile"
    assert start.tensors[name].isfinite().any()
    stronger = Trainer(small_experiment("hinge", **hinge, contrastive__tau_0=4.0), dataset, CPU)
    stronger.fork(start)
    torch.testing.assert_close(
        stronger.checkpoint().tensors[name], start.tensors[name], rtol=0, atol=0, equal_nan=True
    )
    other = Trainer(small_experiment("hinge", **hinge, contrastive__space="x0"), dataset, CPU)
    other.fork(start)
    assert other.checkpoint().tensors[name].isnan().all()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model__base_channels": 16}, r"another network.*model.base_channels 8 -> 16"),
        ({"diffusion__num_timesteps": 500}, r"forward process.*num_timesteps 1000 -> 500"),
        ({"augmentation__conditional_probability": 0.1}, "augmentation inputs False -> True"),
        ({"training__ema_lengths": [0.1]}, r"ema_lengths is \[0.1\], and it keeps .* \[\]"),
        ({"training__batch_size": 48}, "it has seen 64 images; allowed: whole batches of 48"),
        ({"training__num_images": 64}, "it has seen 64 images; allowed: .*num_images = 64"),
        ({"data__imbalance_factor": 0.5}, "other images"),
    ],
)
def test_fork_of_what_does_not_fit_is_refused(
    dataset: Dataset, changes: dict[str, object], reason: str
) -> None:
    start = trained(small_experiment("none"), dataset)
    config = small_experiment(**changes)  # type: ignore[arg-type]
    data = load_dataset(config.data)
    with pytest.raises(ValueError, match=reason):
        check_fork(start.card, config, data)
    with pytest.raises(CheckpointError, match=reason):
        Trainer(config, data, CPU).fork(start)
