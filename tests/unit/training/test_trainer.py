import functools
import warnings

import pytest
import torch

from diffrop.data import Dataset, load_dataset
from diffrop.errors import NonFiniteError, OutOfMemoryError
from diffrop.training.trainer import Trainer
from tests.made.faults import fault
from tests.made.small import small_experiment
from tests.made.trainings import CPU, measured


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return load_dataset(small_experiment().data)


@fault(10, "a prediction that is NaN or infinite")
@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_non_finite_loss_names_the_step_and_changes_no_weight(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch, poison: float
) -> None:
    trainer = Trainer(small_experiment(), dataset, CPU)
    measured(trainer, 2)
    before = {name: tensor.clone() for name, tensor in trainer.checkpoint().tensors.items()}
    predict = trainer._predict
    monkeypatch.setattr(trainer, "_predict", lambda *args: predict(*args) * poison)
    with pytest.raises(NonFiniteError, match=r"images_seen 64 \(step 2\)"):
        trainer.step()
    assert trainer.images_seen == 64
    for name, tensor in trainer.checkpoint().tensors.items():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0, equal_nan=True)


def test_out_of_memory_names_the_batch_size(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = Trainer(small_experiment(), dataset, CPU)

    def exhaust(*args: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(trainer, "_predict", exhaust)
    with pytest.raises(OutOfMemoryError, match="batch_size 32"):
        trainer.step()


def test_gradient_ratio_is_that_of_the_two_losses_alone(dataset: Dataset) -> None:
    trainer = Trainer(small_experiment("reciprocal", contrastive__tau_0=50.0), dataset, CPU)
    parts = trainer._losses(trainer.batches.at(0))
    assert parts.contrastive is not None
    parameters = list(trainer.model.parameters())
    norms = []
    for loss in (parts.contrastive.loss, parts.ddpm):
        grads = torch.autograd.grad(loss, parameters, retain_graph=True, materialize_grads=True)
        norms.append(torch.cat([grad.flatten() for grad in grads]).norm())
    ratio = trainer.step()["pcl/grad_ratio"]
    torch.testing.assert_close(ratio, norms[0] / norms[1], rtol=1e-3, atol=0)
    assert "pcl/grad_ratio" not in trainer.step()  # every second step only


def test_gradient_ratio_with_cbdm_is_over_all_other_losses(dataset: Dataset) -> None:
    config = small_experiment("reciprocal", contrastive__tau_0=50.0, objective__loss="cbdm")
    trainer = Trainer(config, dataset, CPU)
    parts = trainer._losses(trainer.batches.at(0))
    assert parts.contrastive is not None and parts.cbdm is not None
    norms = []
    for loss in (parts.contrastive.loss, parts.ddpm + parts.cbdm):
        grads = torch.autograd.grad(
            loss, list(trainer.model.parameters()), retain_graph=True, materialize_grads=True
        )
        norms.append(torch.cat([grad.flatten() for grad in grads]).norm())
    ratio = trainer.step()["pcl/grad_ratio"]
    torch.testing.assert_close(ratio, norms[0] / norms[1], rtol=1e-3, atol=0)


def test_contrastive_term_waits_for_its_start(dataset: Dataset) -> None:
    late = Trainer(small_experiment(contrastive__start_images=64), dataset, CPU)
    plain = Trainer(small_experiment("none"), dataset, CPU)
    assert measured(late, 2) == measured(plain, 2)
    assert "loss/pcl" in late.step()


def test_logged_rows_are_means_over_their_steps(dataset: Dataset) -> None:
    config = small_experiment(training__log_every_images=64)
    rows: list[dict[str, float]] = []
    Trainer(config, dataset, CPU).train_until(128, rows.append)
    singles = measured(Trainer(config, dataset, CPU), 4)
    assert [row["images_seen"] for row in rows] == [64, 128]
    expected = (singles[2]["loss/ddpm"] + singles[3]["loss/ddpm"]) / 2
    assert rows[1]["loss/ddpm"] == pytest.approx(expected, rel=1e-6)


def test_learning_rate_warms_up_in_images(dataset: Dataset) -> None:
    trainer = Trainer(small_experiment(), dataset, CPU)
    rates = []
    for _ in range(3):
        trainer.step()
        rates.append(trainer.optimizer.param_groups[0]["lr"])
    assert rates == [1e-4, 2e-4, 2e-4]


def test_bf16_trains_and_stays_close_to_fp32(dataset: Dataset) -> None:
    fp32 = measured(Trainer(small_experiment(), dataset, CPU), 1)[0]
    bf16 = measured(Trainer(small_experiment(training__precision="bf16"), dataset, CPU), 1)[0]
    assert bf16["loss/ddpm"] == pytest.approx(fp32["loss/ddpm"], rel=2e-2)


@fault(39, "a compiler that raises")
def test_failing_compilation_falls_back_with_one_warning(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(graph: object, inputs: object) -> None:
        raise RuntimeError("no compiler here")

    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=broken))
    trainer = Trainer(small_experiment(training__compile=True), dataset, CPU)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        compiled = measured(trainer, 2)
    messages = [str(w.message) for w in caught if "torch.compile failed" in str(w.message)]
    assert len(messages) == 1 and "no compiler here" in messages[0]
    assert compiled == measured(Trainer(small_experiment(), dataset, CPU), 2)
