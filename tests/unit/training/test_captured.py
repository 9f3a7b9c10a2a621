import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from benchmarks.stand_in import ActedCapture, ActedGraph
from diffrop.data import Dataset, load_dataset
from diffrop.errors import NonFiniteError
from diffrop.training.captured import NUM_WARM_UP_STEPS, CapturedSteps
from diffrop.training.trainer import Trainer
from tests.made.faults import fault
from tests.made.small import small_experiment
from tests.made.trainings import CPU, measured


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return load_dataset(small_experiment().data)


def recording(trainer: Trainer, kind: type[ActedCapture] = ActedCapture) -> ActedCapture:
    """Let a trainer record its steps with acted graphs."""
    capture = kind(trainer._state)
    trainer._steps = CapturedSteps(capture, trainer._state)
    return capture


def assert_same_state(ours: Trainer, theirs: Trainer) -> None:
    expected = theirs.checkpoint().tensors
    for name, tensor in ours.checkpoint().tensors.items():
        torch.testing.assert_close(tensor, expected[name], rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize(
    "changes",
    [
        {"form": "none"},
        {"model__dropout": 0.2, "training__ema_lengths": [0.1], "data__horizontal_flip": True},
        {"form": "hinge", "contrastive__margin_rule": "quantile", "contrastive__margin": 0.3},
        {"objective__loss": "cbdm", "augmentation__conditional_probability": 0.5},
        {"contrastive__start_images": 160, "training__num_images": 512},
        {"training__precision": "bf16"},
    ],
)
def test_replayed_steps_are_the_plain_ones(dataset: Dataset, changes: dict[str, object]) -> None:
    config = small_experiment(**changes)  # type: ignore[arg-type]
    plain, replayed = Trainer(config, dataset, CPU), Trainer(config, dataset, CPU)
    capture = recording(replayed)
    assert measured(replayed, 9) == measured(plain, 9)
    assert sum(graph.num_replays for graph in capture.graphs) >= 5
    assert_same_state(replayed, plain)


def test_each_part_of_a_step_is_recorded_once(dataset: Dataset) -> None:
    trainer = Trainer(small_experiment(), dataset, CPU)  # a ratio every second step
    capture = recording(trainer)
    measured(trainer, 12)
    assert len(capture.graphs) == 3  # the contrastive gradient, the step with it, and without
    assert capture.num_warm_ups == NUM_WARM_UP_STEPS + 3  # and each beside its first replay


def test_loading_a_checkpoint_records_anew(dataset: Dataset) -> None:
    config = small_experiment("none")
    plain, replayed = Trainer(config, dataset, CPU), Trainer(config, dataset, CPU)
    start = Trainer(config, dataset, CPU).checkpoint()
    measured(plain, 2)
    middle = plain.checkpoint()
    capture = recording(replayed)
    replayed.load(start)
    measured(replayed, 5)
    replayed.load(middle)
    measured(replayed, 5)
    measured(plain, 5)
    assert len(capture.graphs) == 2 and capture.num_resets == 2
    assert_same_state(replayed, plain)


class StillGraph(ActedGraph):
    """Replays nothing."""

    def replay(self) -> None:
        self.num_replays += 1


class ForgetfulGraph(ActedGraph):
    """Measures the right values and changes nothing."""

    state: Callable[[], dict[str, list[Tensor]]]

    def replay(self) -> None:
        tensors = [tensor for group in self.state().values() for tensor in group]
        before = [tensor.detach().clone() for tensor in tensors]
        super().replay()
        with torch.no_grad():
            for tensor, old in zip(tensors, before, strict=True):
                tensor.copy_(old)


class StillCapture(ActedCapture):
    graph_type = StillGraph


class ForgetfulCapture(ActedCapture):
    def record(self, work: Callable[[], Tensor]) -> tuple[ActedGraph, Tensor]:
        graph, result = super().record(work)
        forgetful = ForgetfulGraph(graph.work, result)
        forgetful.state = self.state
        return forgetful, result


class BrokenCapture(ActedCapture):
    def record(self, work: Callable[[], Tensor]) -> tuple[ActedGraph, Tensor]:
        raise RuntimeError("operation not permitted when stream is capturing")


@fault(39, "a recording that raises or computes other numbers")
@pytest.mark.parametrize(
    ("kind", "cause"),
    [
        (StillCapture, "a replay ends"),
        (ForgetfulCapture, "a replay ends"),
        (BrokenCapture, "operation not permitted"),
    ],
)
def test_bad_recording_falls_back_with_one_warning_and_no_trace(
    dataset: Dataset, kind: type[ActedCapture], cause: str
) -> None:
    config = small_experiment(model__dropout=0.1)
    plain, trainer = Trainer(config, dataset, CPU), Trainer(config, dataset, CPU)
    recording(trainer, kind)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = measured(trainer, 8)
    messages = [str(w.message) for w in caught if "graph" in str(w.message)]
    assert len(messages) == 1 and cause in messages[0]
    assert found == measured(plain, 8)
    assert_same_state(trainer, plain)


def test_late_check_of_a_replayed_fault_leaves_the_state_before_it(dataset: Dataset) -> None:
    config = small_experiment("none", model__dropout=0.1)
    trainer, plain = Trainer(config, dataset, CPU), Trainer(config, dataset, CPU)
    capture = recording(trainer)
    trainer._check_finite = lambda: None  # type: ignore[method-assign]
    measured(trainer, 5)
    assert capture.graphs[0].num_replays == 2
    images = trainer.batches.images
    trainer.batches.images = torch.full(images.shape, float("nan"))
    measured(trainer, 1)
    trainer.batches.images = images
    measured(trainer, 3)  # the numbers are finite again, and too late
    del trainer._check_finite  # type: ignore[misc]
    with pytest.raises(NonFiniteError, match=r"images_seen 160 \(step 5\): loss/ddpm nan"):
        trainer._check_finite()
    assert trainer.images_seen == 160
    measured(plain, 5)
    assert_same_state(trainer, plain)
