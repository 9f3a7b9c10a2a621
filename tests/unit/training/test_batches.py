import pytest
import torch

from diffrop.data import Dataset, load_dataset
from diffrop.training.trainer import Trainer
from tests.made.small import small_experiment
from tests.made.trainings import CPU, measured


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return load_dataset(small_experiment().data)


@pytest.mark.parametrize(
    "changes",
    [
        {"objective__loss": "cbdm"},
        {"augmentation__diffaug": ["cutout"]},
        {"augmentation__conditional_probability": 0.3},
    ],
)
def test_methods_share_images_timesteps_and_noise(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch, changes: dict[str, object]
) -> None:
    seen: list[tuple[torch.Tensor, ...]] = []
    for config in (small_experiment("none"), small_experiment("none", **changes)):
        trainer = Trainer(config, dataset, CPU)
        objective = trainer.objective.forward

        def spy(model, x_0, labels, draws, position, objective=objective):  # type: ignore[no-untyped-def]
            seen.append((labels, draws.t, draws.eps, draws.dropped))
            return objective(model, x_0, labels, draws, position)

        monkeypatch.setattr(trainer.objective, "forward", spy)
        measured(trainer, 2)
    for plain, method in zip(seen[:2], seen[2:], strict=True):
        assert all(a.equal(b) for a, b in zip(plain, method, strict=True))
