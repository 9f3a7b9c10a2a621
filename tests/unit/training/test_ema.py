import math
from pathlib import Path

import pytest
import torch

from diffrop.checkpoint_file import read_checkpoint, write_checkpoint
from diffrop.data import load_dataset
from diffrop.power_average import power_exponent
from diffrop.training.ema import PowerAverage, WeightAverage
from diffrop.training.network import load_ema
from diffrop.training.trainer import Trainer
from tests.made.small import small_experiment
from tests.made.trainings import CPU

LENGTHS = [0.05, 0.2]


@pytest.mark.parametrize("length", [0.01, 0.05, 0.1, 0.2, 0.28])
def test_length_is_the_standard_deviation_of_the_profile(length: float) -> None:
    gamma = power_exponent(length)
    time = torch.linspace(0, 1, 2_000_001, dtype=torch.float64)
    profile = time**gamma
    mean = torch.trapezoid(profile * time, time) / torch.trapezoid(profile, time)
    variance = torch.trapezoid(profile * (time - mean) ** 2, time) / torch.trapezoid(profile, time)
    assert math.sqrt(variance) == pytest.approx(length, rel=1e-6)


def test_published_lengths_have_their_published_exponents() -> None:
    assert power_exponent(0.05) == pytest.approx(16.97, abs=5e-3)
    assert power_exponent(0.10) == pytest.approx(6.94, abs=5e-3)


@pytest.mark.parametrize("length", LENGTHS)
def test_average_is_the_integral_of_the_weights_under_the_power_function(length: float) -> None:
    batch, steps, gamma = 32, 50, power_exponent(length)
    history = torch.randn(steps, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    model = torch.nn.Linear(1, 1, bias=False).double()
    average = PowerAverage(model, length)
    for step, weight in enumerate(history, start=1):
        with torch.no_grad():
            model.weight.fill_(weight)
        average.set_time(batch, step * batch)
        average.follow(model, skip=torch.zeros(()))
    # The weights of a step hold during its images: the integral over each step in closed form.
    ends = torch.arange(steps + 1, dtype=torch.float64) * batch
    mass = (ends ** (gamma + 1)).diff() / ends[-1] ** (gamma + 1)
    assert mass.sum().item() == pytest.approx(1)
    assert average.model.weight.item() == pytest.approx((mass * history).sum().item(), rel=1e-9)


def test_every_length_survives_a_checkpoint_and_can_be_sampled_from(tmp_path: Path) -> None:
    config = small_experiment(training__ema_lengths=LENGTHS)
    dataset = load_dataset(config.data)
    whole, first, second = (Trainer(config, dataset, CPU) for _ in range(3))
    for _ in range(4):
        whole.step()
    for _ in range(2):
        first.step()
    write_checkpoint(tmp_path / "c.safetensors", first.checkpoint())
    second.load(read_checkpoint(tmp_path / "c.safetensors"))
    for _ in range(2):
        second.step()
    write_checkpoint(tmp_path / "d.safetensors", second.checkpoint())
    stored = read_checkpoint(tmp_path / "d.safetensors")
    x, labels = torch.randn(4, 1, 8, 8), torch.arange(4)
    outputs = [load_ema(stored, CPU, length)(x, labels, labels) for length in (None, *LENGTHS)]
    for length, output in zip(LENGTHS, outputs[1:], strict=True):
        assert output.equal(whole.power_averages[length].model(x, labels, labels))
    assert not outputs[0].equal(outputs[1]) and not outputs[1].equal(outputs[2])


def test_average_stands_still_at_a_faulty_step() -> None:
    model = torch.nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    average = PowerAverage(model, 0.1)
    with torch.no_grad():
        model.weight.add_(1)
    average.set_time(32, 32)
    before = average.model.weight.clone()
    average.follow(model, skip=torch.ones(()))
    assert average.model.weight.equal(before)
    average.follow(model, skip=torch.zeros(()))
    torch.testing.assert_close(average.model.weight, model.weight)  # the first step leaves nothing


def test_averages_are_found_by_their_length() -> None:
    config = small_experiment(training__ema_lengths=LENGTHS)
    trainer = Trainer(config, load_dataset(config.data), CPU)
    assert list(trainer.averages) == [None, *LENGTHS]
    assert trainer.averages[0.2] is trainer.power_averages[0.2].model
    assert trainer.averages[None] is trainer.ema.model


def test_length_that_was_not_kept_is_refused() -> None:
    with pytest.raises(ValueError, match=r"sampling.ema_length is 0.1; .* \[0.05, 0.2\], or null"):
        small_experiment(training__ema_lengths=LENGTHS, sampling__ema_length=0.1)
    for lengths in ([0.05, 0.05], [0.0], [0.29]):
        with pytest.raises(ValueError, match="ema_lengths"):
            small_experiment(training__ema_lengths=lengths)


def test_average_has_the_half_life_in_images() -> None:
    model = torch.nn.Linear(1, 1)
    with torch.no_grad():
        model.weight.fill_(0.0)
    average = WeightAverage(model, half_life_images=100, ramp=1.0)
    with torch.no_grad():
        model.weight.fill_(1.0)
    for step in range(10):  # one half-life of steps of 10 images, long after the ramp
        average.set_time(10, 1000 + step)
        average.follow(model, skip=torch.zeros(()))
    assert average.model.weight.item() == pytest.approx(0.5, abs=1e-6)
    assert average.half_life(40) == 40
