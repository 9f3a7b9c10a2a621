import math

import numpy as np
import pytest

from diffrop.power_average import (
    MAX_ERROR,
    SPAN,
    Combination,
    Snapshot,
    allowed_lengths,
    combine,
    is_snapshot_time,
    planned_error,
    power_exponent,
    reconstructed_ranges,
    snapshot_times,
)

BATCH, STEPS = 4, 256
END = BATCH * STEPS
TIMES = snapshot_times(END, BATCH, 4)


def masses(length: float, images_seen: int) -> np.ndarray:
    """Of each step in a power average, by the recursion that a training follows."""
    weights, exponent = np.zeros(STEPS), power_exponent(length)
    for step in range(1, images_seen // BATCH + 1):
        weights *= (1 - 1 / step) ** (exponent + 1)
        weights[step - 1] = 1 - (1 - 1 / step) ** (exponent + 1)
    return weights


def parts_and_weights(found: Combination) -> tuple[np.ndarray, np.ndarray]:
    parts = [masses(one.length, one.images_seen) for one in found.weights]
    return np.array(parts), np.array(list(found.weights.values()))


@pytest.mark.parametrize("length", [0.045, 0.07, 0.13, 0.16])
def test_combined_snapshots_follow_the_average_of_any_trajectory(length: float) -> None:
    found = combine(length, (0.05, 0.1), TIMES, END)
    parts, weights = parts_and_weights(found)
    assert len(weights) == 2 * len(TIMES)
    assert weights.sum() == pytest.approx(1)
    assert 0 < found.error < MAX_ERROR
    combined, wanted = weights @ parts, masses(length, END)
    assert np.linalg.norm(combined - wanted) <= 1.05 * found.error * np.linalg.norm(wanted)
    walk = np.random.default_rng(0).normal(size=(STEPS, 500)).cumsum(0)
    averages = {each: masses(each, END) @ walk for each in (0.05, 0.1, length)}
    off = np.linalg.norm(combined @ walk - averages[length])
    assert off < 0.05 * np.linalg.norm(averages[0.05] - averages[0.1])


def test_error_is_that_of_profiles_integrated_numerically() -> None:
    found = combine(0.1, (0.05, 0.2), TIMES, END)
    time = (np.arange(400_000) + 0.5) / 400_000 * END

    def profile(length: float, end: int) -> np.ndarray:
        gamma = power_exponent(length)
        return np.where(time <= end, (gamma + 1) * (time / end) ** gamma / end, 0.0)

    combined = sum(
        weight * profile(one.length, one.images_seen) for one, weight in found.weights.items()
    )
    wanted = profile(0.1, END)
    error = np.linalg.norm(combined - wanted) / np.linalg.norm(wanted)
    assert found.error == pytest.approx(error, rel=1e-3)


def test_no_other_weights_that_sum_to_1_have_less_error() -> None:
    rng = np.random.default_rng(1)
    parts, weights = parts_and_weights(combine(0.07, (0.05, 0.1), TIMES[-4:], END))
    assert len(weights) == 8
    wanted = masses(0.07, END)
    least = np.linalg.norm(weights @ parts - wanted)
    for _ in range(50):
        change = rng.normal(size=len(weights))
        other = weights + 0.3 * (change - change.mean())
        assert np.linalg.norm(other @ parts - wanted) > least


def test_snapshots_that_hold_an_average_give_it() -> None:
    found = combine(0.1, (0.05, 0.1), TIMES, END)
    assert found.error < 1e-5
    assert found.weights[Snapshot(END, 0.1)] == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(
    ("images", "batch"), [(END, BATCH), (2000, 8), (96, 32), (19_200_000, 64)]
)
@pytest.mark.parametrize("per_doubling", [1, 4])
def test_planned_times_are_those_at_which_a_training_takes_them(
    images: int, batch: int, per_doubling: int
) -> None:
    first = images // SPAN // batch * batch
    taken = [
        after
        for after in range(max(batch, first), images + 1, batch)
        if is_snapshot_time(after - batch, after, per_doubling) and images <= SPAN * after
    ]
    assert snapshot_times(images, batch, per_doubling) == taken
    since = taken[0]
    assert snapshot_times(images, batch, per_doubling, since=since) == taken[1:]
    assert snapshot_times(images, batch, 0) == []


@pytest.mark.parametrize(
    ("per_doubling", "num_times", "of_two", "of_three"),
    [
        (1, 3, "0.04 to 0.125", "0.03 to 0.245"),
        (2, 6, "0.04 to 0.135", "0.03 to 0.26"),
        (4, 12, "0.04 to 0.175", "0.03 to 0.265"),
    ],
)
def test_snapshots_give_the_documented_ranges(
    per_doubling: int, num_times: int, of_two: str, of_three: str
) -> None:
    times = snapshot_times(19_200_000, 64, per_doubling)
    assert len(times) == num_times
    assert reconstructed_ranges((0.05, 0.1), times, 19_200_000) == of_two
    assert reconstructed_ranges((0.05, 0.1, 0.2), times, 19_200_000) == of_three


def test_averages_that_there_are_are_named_with_the_ranges_of_their_snapshots() -> None:
    start, end = "one of training.ema_lengths, [0.05, 0.1]", "or null"
    assert allowed_lengths([0.05, 0.1], [], END) == f"{start}, {end}"
    ranges = reconstructed_ranges([0.05, 0.1], TIMES, END)
    found = allowed_lengths((0.05, 0.1), TIMES, END, " at 1,024 images")
    assert found == f"{start}, {ranges} from snapshots at 1,024 images, {end}"
    assert allowed_lengths([], TIMES, END) == f"one of training.ema_lengths, [], {end}"


def test_nothing_lies_badly_within_the_documented_ranges() -> None:
    for number in range(40, 176):  # between the lengths that were tried, too
        assert planned_error(number / 1000, (0.05, 0.1), 19_200_000, 64, 4) <= MAX_ERROR
    assert planned_error(0.1, (), 19_200_000, 64, 4) == math.inf
    assert planned_error(0.1, (0.05,), 19_200_000, 64, 0) == math.inf
