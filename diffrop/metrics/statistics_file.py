"""Files of reference statistics: `mu` (D,) and `sigma` (D, D) in an `.npz`.

The format in which EDM (Karras et al., 2022) and clean-fid (Parmar et al., 2022) publish theirs.
Files written here also say which extractor they are of, and of how many images, in entries that
those programs pass over. Nothing in a file is executed: arrays of pickled objects are refused.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from diffrop.metrics.frechet import GaussianStatistics
from diffrop.npz_file import read_arrays
from diffrop.storage import written_atomically

ALLOWED = "an .npz with mu (D,) and sigma (D, D), as EDM and clean-fid write it"
SYMMETRIC = 1e-4
"""Difference of a covariance from its transpose that is taken for rounding, as a share of its
largest value; some files hold float32."""


@dataclass(frozen=True)
class StatisticsFile:
    """The statistics of one extractor's features of some images."""

    statistics: GaussianStatistics
    extractor: str | None
    """None where the file does not say it."""


def read_statistics(path: Path) -> StatisticsFile:
    """Read reference statistics.

    Raises:
        ValueError: the file has another format, or its values are no mean and covariance.
    """
    arrays = read_arrays(path, ALLOWED)
    mean, covariance = arrays.get("mu"), arrays.get("sigma")
    if mean is None or covariance is None:
        names = ", ".join(arrays) or "nothing"
        raise ValueError(f"{str(path)!r} holds {names}; allowed: {ALLOWED}")
    real = all(np.issubdtype(array.dtype, np.floating) for array in (mean, covariance))
    if not real or mean.ndim != 1 or len(mean) < 1 or covariance.shape != 2 * mean.shape:
        raise ValueError(
            f"{str(path)!r} holds mu {mean.dtype} {mean.shape} and sigma {covariance.dtype} "
            f"{covariance.shape}; allowed: {ALLOWED}"
        )
    mu, sigma = (torch.from_numpy(array.astype(np.float64)) for array in (mean, covariance))
    largest = float(sigma.abs().max())
    skew = float((sigma - sigma.T).abs().max())
    if not torch.isfinite(mu).all() or not skew <= SYMMETRIC * largest:
        raise ValueError(
            f"{str(path)!r} holds values that are not finite, or a sigma that is not symmetric; "
            f"allowed: {ALLOWED}"
        )
    count, extractor = arrays.get("num_images"), arrays.get("extractor")
    statistics = GaussianStatistics.of_moments(
        mu, (sigma + sigma.T) / 2, None if count is None else int(count)
    )
    return StatisticsFile(statistics, None if extractor is None else str(extractor))


def write_statistics(path: Path, statistics: GaussianStatistics, extractor: str) -> None:
    """Write reference statistics, whole or not at all.

    Args:
        path: the new file.
        statistics: of the reference.
        extractor: name of the extractor of the features.
    """
    arrays: dict[str, Any] = {
        "mu": statistics.mean.cpu().numpy(),
        "sigma": statistics.covariance.cpu().numpy(),
        "extractor": np.str_(extractor),
    }
    if statistics.count is not None:
        arrays["num_images"] = np.int64(statistics.count)
    with written_atomically(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)
