from pathlib import Path

import pytest
import torch

from diffrop.checkpoint_file import read_checkpoint, write_checkpoint
from diffrop.data import Dataset, load_dataset
from diffrop.errors import CheckpointError
from diffrop.training.network import check_network
from diffrop.training.trainer import Trainer
from tests.made.faults import fault
from tests.made.small import small_experiment
from tests.made.trainings import CPU, measured


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return load_dataset(small_experiment().data)


@fault(16, "a checkpoint loaded in the midst, for seven kinds of training")
@pytest.mark.parametrize(
    "changes",
    [
        {"form": "none"},
        {"form": "exponential", "model__dropout": 0.2, "data__horizontal_flip": True},
        {"form": "hinge", "contrastive__margin_rule": "quantile", "contrastive__margin": 0.3},
        {"objective__loss": "cbdm", "objective__class_weights": "inverse"},
        {"form": "none", "data__class_sampling": "uniform"},
        {"form": "none", "data__class_sampling": "sqrt"},
        {
            "objective__loss": "cbdm",
            "augmentation__diffaug": ["translation", "cutout"],
            "augmentation__conditional_probability": 0.5,
        },
    ],
)
def test_resumed_training_is_bitwise_the_uninterrupted_one(
    tmp_path: Path, dataset: Dataset, changes: dict[str, object]
) -> None:
    config = small_experiment(**changes)  # type: ignore[arg-type]
    whole = Trainer(config, dataset, CPU)
    expected = measured(whole, 6)

    first = Trainer(config, dataset, CPU)
    assert measured(first, 3) == expected[:3]
    write_checkpoint(tmp_path / "c.safetensors", first.checkpoint())
    second = Trainer(config, dataset, CPU)
    second.load(read_checkpoint(tmp_path / "c.safetensors"))
    assert measured(second, 3) == expected[3:]
    ours, theirs = second.checkpoint().tensors, whole.checkpoint().tensors
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        torch.testing.assert_close(tensor, theirs[name], rtol=0, atol=0, equal_nan=True)


def test_moments_of_a_checkpoint_take_the_layout_of_the_weights(
    dataset: Dataset, tmp_path: Path
) -> None:
    """On a GPU weights are channels last, files are not, and fused Adam wants both alike."""
    trained, resumed = (Trainer(small_experiment(), dataset, CPU) for _ in range(2))
    trained.step()
    write_checkpoint(tmp_path / "x.safetensors", trained.checkpoint())
    resumed.model.to(memory_format=torch.channels_last)
    resumed.load(read_checkpoint(tmp_path / "x.safetensors"))
    weights = zip(resumed.model.parameters(), trained.model.parameters(), strict=True)
    for weight, original in weights:
        ours, theirs = resumed.optimizer.state[weight], trained.optimizer.state[original]
        for name in ("exp_avg", "exp_avg_sq"):
            assert ours[name].stride() == weight.stride()
            assert torch.equal(ours[name], theirs[name])


def test_checkpoint_of_another_training_is_refused_with_the_differences(dataset: Dataset) -> None:
    checkpoint = Trainer(small_experiment(), dataset, CPU).checkpoint()
    other = Trainer(small_experiment(contrastive__tau_0=2.0), dataset, CPU)
    with pytest.raises(CheckpointError, match=r"contrastive.tau_0 1.0 -> 2.0"):
        other.load(checkpoint)


def test_checkpoint_of_other_images_is_refused(dataset: Dataset) -> None:
    checkpoint = Trainer(small_experiment(), dataset, CPU).checkpoint()
    checkpoint.card["data_digest"] = "0"
    with pytest.raises(CheckpointError, match="other images"):
        Trainer(small_experiment(), dataset, CPU).load(checkpoint)


def test_longer_training_and_other_sampling_may_go_on(dataset: Dataset) -> None:
    first = Trainer(small_experiment(), dataset, CPU)
    measured(first, 2)
    changes = {"training__num_images": 4096, "sampling__num_steps": 7}
    longer = Trainer(small_experiment(**changes), dataset, CPU)  # type: ignore[arg-type]
    longer.load(first.checkpoint())
    assert longer.images_seen == 64
    assert measured(longer, 1) == measured(first, 1)


def test_fine_tuning_starts_from_weights_and_average_with_a_fresh_clock(
    tmp_path: Path, dataset: Dataset
) -> None:
    first = Trainer(small_experiment("none"), dataset, CPU)
    measured(first, 2)
    path = tmp_path / "c.safetensors"
    write_checkpoint(path, first.checkpoint())
    changes = {"training__init_from": str(path), "objective__cbdm_labels": "uniform"}
    config = small_experiment("none", objective__loss="cbdm", **changes)
    check_network(config, dataset)
    tuned = Trainer(config, dataset, CPU)
    tuned.start_from(read_checkpoint(path))
    assert tuned.images_seen == 0
    ours, theirs = tuned.checkpoint(), first.checkpoint()
    for part in ("model", "ema"):
        assert all(ours.part(part)[k].equal(v) for k, v in theirs.part(part).items())
    assert not ours.part("optimizer")
    # The ramp of the average counts the images of before: one step does not wipe it out.
    measured(tuned, 1)
    seen = first.images_seen + tuned.images_seen
    kept = tuned.ema.decay(config.training.batch_size, seen)
    name, before = next(iter(theirs.part("ema").items()))
    now = dict(tuned.model.state_dict())[name]
    expected = kept * before + (1 - kept) * now
    torch.testing.assert_close(tuned.checkpoint().part("ema")[name], expected)
    again = Trainer(config, dataset, CPU)
    again.load(tuned.checkpoint())
    assert again.images_before == first.images_seen


def test_checkpoint_older_than_a_key_counts_as_its_default(dataset: Dataset) -> None:
    checkpoint = Trainer(small_experiment(), dataset, CPU).checkpoint()
    del checkpoint.card["config"]["objective"]
    Trainer(small_experiment(), dataset, CPU).load(checkpoint)
    other = Trainer(small_experiment(objective__loss="cbdm"), dataset, CPU)
    with pytest.raises(CheckpointError, match=r"objective.loss 'ddpm' -> 'cbdm'"):
        other.load(checkpoint)
