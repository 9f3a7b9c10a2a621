"""The fast step against eager float64: same weights, images, noise and dropped labels."""

import copy
import warnings
from collections.abc import Iterator

import pytest
import torch

from benchmarks.gpu_correctness import FLOOR, MOST_RATIO, OBJECTIVES, loss_and_gradient, perturb
from diffrop.config import ExperimentConfig
from diffrop.data import Dataset, load_dataset
from diffrop.models.compiled import gradient_distances
from diffrop.models.precision import working_copy
from diffrop.training.trainer import Trainer
from tests.made.graphs import trace_without_code
from tests.made.small import small_experiment

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
WHOLE = {"fp32": 1e-5, "bf16": 2e-2}
EACH = {"fp32": 1e-4, "bf16": 1e-1}
"""For the gradient of each weight, where that of the eager network is not as far off itself: the
sum of a bias may all but cancel, and processors with AMX add up bf16 otherwise."""


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return load_dataset(small_experiment().data)


@pytest.fixture(autouse=True)
def compiler(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if not torch.cuda.is_available():
        trace_without_code(monkeypatch)
    yield
    torch.compiler.reset()


def experiment(objective: str, precision: str, compiled: bool) -> ExperimentConfig:
    """A network with attention, and a third of the labels dropped."""
    config = small_experiment(**OBJECTIVES[objective])  # type: ignore[arg-type]
    levels = {} if compiled else {"model.channel_multipliers": [1, 2]}  # tracing takes seconds
    return config.with_values(
        {
            **levels,
            "model.attention_resolutions": [4],
            "diffusion.label_dropout": 0.3,
            "training.precision": precision,
            "training.compile": compiled,
        }
    )


def perturbed(trainer: Trainer) -> Trainer:
    perturb(trainer.model)
    return trainer


def assert_parity(trainer: Trainer, precision: str) -> None:
    batch = trainer.batches.at(trainer.images_seen)
    assert batch[4].any()  # labels are dropped
    network = copy.deepcopy(trainer.model).eval().double()  # without dropout either way
    expected, gradient = loss_and_gradient(network, trainer.objective, batch)
    trainer._refresh()
    found = trainer._losses(batch)
    tolerance = WHOLE[precision]
    assert found.total.item() == pytest.approx(expected.total.item(), rel=tolerance)
    if expected.contrastive is not None:
        assert found.contrastive is not None
        ours, theirs = found.contrastive.loss.item(), expected.contrastive.loss.item()
        assert theirs != 0 and ours == pytest.approx(theirs, rel=tolerance)
    trainer._gradients.take(trainer._gradient_of(found.total))
    ours = [weight.grad for weight in trainer.model.parameters() if weight.grad is not None]
    distance, each = gradient_distances(ours, gradient, FLOOR)
    assert distance <= tolerance
    plain = working_copy(trainer.model, trainer.config.training.precision).eval()
    _, eager = loss_and_gradient(plain, trainer.objective, batch)
    _, usual = gradient_distances(eager, gradient, FLOOR)
    bounds = [max(EACH[precision], MOST_RATIO * off) for off in usual]
    assert all(off <= bound for off, bound in zip(each, bounds, strict=True)), each


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_loss_and_gradient_are_those_of_eager_float64(
    dataset: Dataset, objective: str, precision: str, device: str
) -> None:
    config = experiment(objective, precision, compiled=False)
    assert_parity(perturbed(Trainer(config, dataset, torch.device(device))), precision)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("objective", "precision"), [("hinge", "fp32"), ("cbdm", "bf16")])
def test_compiled_loss_and_gradient_are_those_of_eager_float64(
    dataset: Dataset, objective: str, precision: str, device: str
) -> None:
    config = experiment(objective, precision, compiled=True)
    trainer = perturbed(Trainer(config, dataset, torch.device(device)))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer.step()
    assert not [str(w.message) for w in caught if "failed" in str(w.message)]
    assert trainer._network is not trainer._working
    assert_parity(trainer, precision)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_recorded_steps_train_as_plain_ones_on_a_gpu(dataset: Dataset, objective: str) -> None:
    device = torch.device("cuda")
    ends = []
    for compiled in (False, True):
        trainer = Trainer(experiment(objective, "fp32", compiled), dataset, device)
        rows = [trainer.step() for _ in range(8)]
        ends.append([row["loss/ddpm"].item() for row in rows])
        assert bool(trainer._steps._recorded) == compiled
    assert ends[1] == pytest.approx(ends[0], rel=1e-3)
