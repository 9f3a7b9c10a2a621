"""Power-function averages as profiles over time: what one is made of, and what others give.

A profile of exponent gamma at time s is p(u) = (gamma + 1) u^gamma / s^(gamma + 1) for 0 <= u <= s
(Karras et al., 2024, section 3.1). Averages of a few lengths, kept at several times, span others:
appendix C.2 there solves for the coefficients by least squares over profiles. Here they also sum
to 1, so that whatever the weights kept from the start comes out as it is.

Time is in images; its unit is of no account, for profiles scale with it. numpy is imported where
something is computed: the configuration, which commands read first, asks seldom.
"""

import functools
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]

MAX_ERROR = 0.05
"""The relative L2 distance from the wanted profile up to which a combination stands for it."""
SPAN = 8
"""Snapshots count that were taken since an eighth of the images seen."""
MAX_LENGTH = 0.28
"""Of an average; a uniform one has 0.2887."""
_STEP = 0.005
"""Between the lengths that are tried to say which are allowed."""
_RANK_TOLERANCE = 1e-12


@dataclass(frozen=True)
class Snapshot:
    """One average that was kept."""

    images_seen: int
    length: float
    """Its relative length, sigma_rel."""


@dataclass(frozen=True)
class Combination:
    """What comes closest to an average that was not kept."""

    weights: Mapping[Snapshot, float]
    """Of each average that was kept; their sum is 1."""
    error: float
    """Distance of its profile from the wanted one, relative, L2: about the share of the average's
    own noise that it adds, where the weights of distant steps are independent."""


def power_exponent(length: float) -> float:
    """Return gamma > 0 with length^2 = (gamma + 1) / ((gamma + 2)^2 (gamma + 3)).

    Args:
        length: sigma_rel, more than 0 and less than sqrt(1/12) = 0.2887, that of gamma = 0.
    """
    import numpy as np

    inverse = length**-2
    roots = np.roots([1, 7, 16 - inverse, 12 - inverse])
    return float(max(roots[np.isreal(roots)].real))


def is_snapshot_time(before: int, after: int, per_doubling: int) -> bool:
    """Return whether a step takes the images seen past one of the times 2^(k / per_doubling)."""
    return per_doubling > 0 and _place(before, per_doubling) != _place(after, per_doubling)


def _place(images: int, per_doubling: int) -> int:
    return math.floor(math.log2(images) * per_doubling) if images else -1


def snapshot_times(
    images_seen: int, batch_size: int, per_doubling: int, since: int = 0
) -> list[int]:
    """Return when snapshots are taken that count at `images_seen`, in rising order.

    Args:
        images_seen: the end, itself such a time or not.
        batch_size: of a step; each time is the first whole batch that reaches it.
        per_doubling: times in each doubling of the images seen; 0 for none.
        since: images seen after which they are taken.
    """
    if per_doubling == 0:
        return []
    lowest = max(0, _place(max(1, images_seen // SPAN), per_doubling) - per_doubling)
    places = range(lowest, _place(images_seen, per_doubling) + 1)
    times = {math.ceil(2 ** (k / per_doubling) / batch_size) * batch_size for k in places}
    return sorted(time for time in times if since < time and counts_at(images_seen, time))


def counts_at(images_seen: int, time: int) -> bool:
    """Return whether a snapshot counts for averages that end at `images_seen`."""
    return time <= images_seen <= SPAN * time


def combine(
    length: float, kept: Sequence[float], times: Iterable[int], images_seen: int
) -> Combination:
    """Return the weights of what was kept whose sum has the least error.

    Args:
        length: the wanted one, 0 < length < sqrt(1/12).
        kept: the lengths in each snapshot, one or more.
        times: of the snapshots, up to `images_seen`, at which these lengths are there as well.
        images_seen: when the wanted average ends.
    """
    import numpy as np

    snapshots = [Snapshot(time, each) for time in sorted({*times, images_seen}) for each in kept]
    # Each as a multiple of the end, and of unit norm, for the sake of the condition.
    ends = np.array([each.images_seen for each in snapshots] + [images_seen]) / images_seen
    exponents = np.array([power_exponent(each.length) for each in snapshots])
    exponents = np.append(exponents, power_exponent(length))
    products = _inner_products(ends, exponents)
    norms = np.sqrt(np.diag(products))
    products /= norms[:, None] * norms
    count = len(snapshots)
    system = np.zeros((count + 1, count + 1))
    system[:count, :count] = products[:count, :count]
    system[count, :count] = system[:count, count] = 1 / norms[:count]
    right = np.append(products[:count, count], 1 / norms[count])
    scaled = np.linalg.lstsq(system, right, rcond=_RANK_TOLERANCE)[0][:count]
    difference = np.append(scaled, -1.0)
    error = math.sqrt(max(0.0, difference @ products @ difference))
    weights = scaled * norms[count] / norms[:count]
    return Combination(dict(zip(snapshots, weights.tolist(), strict=True)), error)


def _inner_products(times: "FloatArray", exponents: "FloatArray") -> "FloatArray":
    """Return the integrals of p_i p_j over time, (n, n), from times and exponents (n,)."""
    import numpy as np

    sums = exponents[:, None] + exponents + 1
    earlier = np.minimum(times[:, None], times)
    scale = np.outer(exponents + 1, exponents + 1) / sums
    products: FloatArray = (
        scale
        * (earlier / times[:, None]) ** exponents[:, None]
        * (earlier / times) ** exponents
        * earlier
        / np.outer(times, times)
    )
    return products


@functools.cache
def planned_error(
    length: float,
    kept: tuple[float, ...],
    images_seen: int,
    batch_size: int,
    per_doubling: int,
    since: int = 0,
) -> float:
    """Return the error with which a training gives a length that it does not keep.

    Args:
        length: the wanted one.
        kept: the lengths that it keeps.
        images_seen: when.
        batch_size: of the training.
        per_doubling: snapshots in each doubling of the images seen.
        since: images seen after which it takes them.
    """
    if not kept or per_doubling == 0:
        return math.inf
    times = snapshot_times(images_seen, batch_size, per_doubling, since)
    return combine(length, kept, times, images_seen).error


def allowed_lengths(
    kept: Sequence[float], times: Collection[int], images_seen: int, where: str = ""
) -> str:
    """Return which averages there are where a training stands, as a refusal names them.

    Args:
        kept: the lengths that it keeps.
        times: of the snapshots that there are; without any, nothing is reconstructed.
        images_seen: where it stands.
        where: added to the ranges that snapshots give, such as " at 512 images".
    """
    ranges = reconstructed_ranges(kept, times, images_seen)
    others = f", {ranges} from snapshots{where}" if ranges else ""
    return f"one of training.ema_lengths, {list(kept)}{others}, or null"


def reconstructed_ranges(kept: Sequence[float], times: Collection[int], images_seen: int) -> str:
    """Return the ranges of lengths that snapshots give well enough, in words; see above."""
    spans: list[list[float]] = []
    for number in range(1, round(MAX_LENGTH / _STEP) + 1) if kept and times else ():
        length = round(number * _STEP, 6)
        if combine(length, kept, times, images_seen).error > MAX_ERROR:
            continue
        if spans and number - round(spans[-1][1] / _STEP) == 1:
            spans[-1][1] = length
        else:
            spans.append([length, length])
    return ", ".join(f"{low:g} to {high:g}" for low, high in spans if low < high)
