from pathlib import Path

import pytest
import torch

from diffrop.checkpoint_file import write_checkpoint
from diffrop.data import Dataset, load_dataset
from diffrop.training.checkpoint import config_of
from diffrop.training.network import check_network, load_ema
from diffrop.training.trainer import Trainer
from tests.made.small import small_experiment
from tests.made.trainings import CPU, measured


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return load_dataset(small_experiment().data)


def test_network_with_augmentation_inputs_starts_with_the_same_weights(
    dataset: Dataset,
) -> None:
    plain = Trainer(small_experiment(), dataset, CPU).model.state_dict()
    config = small_experiment(augmentation__conditional_probability=0.1)
    conditional = Trainer(config, dataset, CPU).model.state_dict()
    assert conditional.keys() - plain.keys() == {"augmentation.weight"}
    assert all(conditional[name].equal(tensor) for name, tensor in plain.items())


def test_fine_tuning_of_another_network_is_refused(tmp_path: Path, dataset: Dataset) -> None:
    path = tmp_path / "c.safetensors"
    with pytest.raises(ValueError, match=r"init_from.*not a readable checkpoint"):
        check_network(small_experiment(training__init_from=str(path)), dataset)
    write_checkpoint(path, Trainer(small_experiment(), dataset, CPU).checkpoint())
    changes = {"training__init_from": str(path), "model__base_channels": 16}
    with pytest.raises(ValueError, match=r"init_from.*another network.*same model"):
        check_network(small_experiment(**changes), dataset)  # type: ignore[arg-type]


def test_checkpoint_alone_gives_the_network_to_sample_from(dataset: Dataset) -> None:
    trainer = Trainer(small_experiment(), dataset, CPU)
    measured(trainer, 2)
    checkpoint = trainer.checkpoint()
    assert config_of(checkpoint.card) == small_experiment()
    model = load_ema(checkpoint, CPU)
    x, t, labels = torch.randn(4, 1, 8, 8), torch.tensor([0, 9, 500, 999]), torch.arange(4)
    torch.testing.assert_close(model(x, t, labels), trainer.ema.model(x, t, labels))


def test_batch_that_does_not_divide_is_refused(dataset: Dataset) -> None:
    from diffrop.training.network import check_batch_fits_workers

    with pytest.raises(ValueError, match=r"batch_size is 32 over 3 worker\(s\).*24"):
        check_batch_fits_workers(small_experiment(), 3)
