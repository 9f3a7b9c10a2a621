import functools
import warnings
from pathlib import Path

import pytest
import torch

from diffrop.checkpoint_file import read_checkpoint, write_checkpoint
from diffrop.data import Dataset, load_dataset
from diffrop.errors import CheckpointError, NonFiniteError, OutOfMemoryError
from diffrop.training.checkpoint import config_of
from diffrop.training.ema import WeightAverage
from diffrop.training.network import check_network, load_ema
from diffrop.training.trainer import Trainer
from tests.made.small import small_experiment
from tests.made.trainings import CPU, measured


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return load_dataset(small_experiment().data)


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


def test_network_that_is_told_of_augmentation_starts_with_the_same_weights(
    dataset: Dataset,
) -> None:
    plain = Trainer(small_experiment(), dataset, CPU).model.state_dict()
    config = small_experiment(augmentation__conditional_probability=0.1)
    told = Trainer(config, dataset, CPU).model.state_dict()
    assert told.keys() - plain.keys() == {"augmentation.weight"}
    assert all(told[name].equal(tensor) for name, tensor in plain.items())


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


def test_fine_tuning_of_another_network_is_refused(tmp_path: Path, dataset: Dataset) -> None:
    path = tmp_path / "c.safetensors"
    with pytest.raises(ValueError, match=r"init_from.*not a readable checkpoint"):
        check_network(small_experiment(training__init_from=str(path)), dataset)
    write_checkpoint(path, Trainer(small_experiment(), dataset, CPU).checkpoint())
    changes = {"training__init_from": str(path), "model__base_channels": 16}
    with pytest.raises(ValueError, match=r"init_from.*another network.*same model"):
        check_network(small_experiment(**changes), dataset)  # type: ignore[arg-type]


def test_checkpoint_older_than_a_key_counts_as_its_default(dataset: Dataset) -> None:
    checkpoint = Trainer(small_experiment(), dataset, CPU).checkpoint()
    del checkpoint.card["config"]["objective"]
    Trainer(small_experiment(), dataset, CPU).load(checkpoint)
    other = Trainer(small_experiment(objective__loss="cbdm"), dataset, CPU)
    with pytest.raises(CheckpointError, match=r"objective.loss 'ddpm' -> 'cbdm'"):
        other.load(checkpoint)


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


def test_average_has_the_half_life_in_images() -> None:
    model = torch.nn.Linear(1, 1)
    with torch.no_grad():
        model.weight.fill_(0.0)
    average = WeightAverage(model, half_life_images=100, ramp=1.0)
    with torch.no_grad():
        model.weight.fill_(1.0)
    for step in range(10):  # one half-life of steps of 10 images, long after the ramp
        average.update(model, 10, 1000 + step)
    assert average.model.weight.item() == pytest.approx(0.5, abs=1e-6)
    assert average.half_life(40) == 40


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


def test_bf16_trains_and_stays_close_to_fp32(dataset: Dataset) -> None:
    fp32 = measured(Trainer(small_experiment(), dataset, CPU), 1)[0]
    bf16 = measured(Trainer(small_experiment(training__precision="bf16"), dataset, CPU), 1)[0]
    assert bf16["loss/ddpm"] == pytest.approx(fp32["loss/ddpm"], rel=2e-2)


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
