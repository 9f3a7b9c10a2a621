"""Files of reference statistics, as EDM and clean-fid write and read them."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from diffrop.metrics.frechet import frechet_distance, gaussian_statistics
from diffrop.metrics.statistics_file import read_statistics, write_statistics


def features(count: int, shift: float = 0.0) -> torch.Tensor:
    rng = torch.Generator().manual_seed(count)
    return torch.randn(count, 6, generator=rng, dtype=torch.float64) ** 2 + shift


def numpys(x: torch.Tensor) -> dict[str, np.ndarray]:
    """What EDM and clean-fid compute of features."""
    return {"mu": x.numpy().mean(axis=0), "sigma": np.cov(x.numpy(), rowvar=False)}


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("count", [4, 50])
def test_files_of_others_give_the_distance_of_the_features(
    tmp_path: Path, save: object, count: int
) -> None:
    others, ours = features(count), features(30, shift=1.0)
    save(tmp_path / "ref.npz", **numpys(others))  # type: ignore[operator]
    found = read_statistics(tmp_path / "ref.npz")
    assert found.extractor is None and found.statistics.count is None
    expected = frechet_distance(ours, others)
    near = 1e-9 if count > 6 else 1e-6  # the root of a singular covariance magnifies rounding
    assert frechet_distance(ours, found.statistics) == pytest.approx(expected, rel=near)


def test_float32_is_read_too(tmp_path: Path) -> None:
    values = {name: array.astype(np.float32) for name, array in numpys(features(50)).items()}
    np.savez(tmp_path / "ref.npz", **values)
    found = frechet_distance(features(30), read_statistics(tmp_path / "ref.npz").statistics)
    assert found == pytest.approx(frechet_distance(features(30), features(50)), rel=1e-4)


def test_what_is_written_is_what_others_read(tmp_path: Path) -> None:
    write_statistics(tmp_path / "ref.npz", gaussian_statistics(features(50)), "some-extractor")
    with np.load(tmp_path / "ref.npz", allow_pickle=False) as file:
        for name, array in numpys(features(50)).items():
            assert file[name].dtype == np.float64
            np.testing.assert_allclose(file[name], array, atol=1e-12)
    found = read_statistics(tmp_path / "ref.npz")
    assert (found.extractor, found.statistics.count) == ("some-extractor", 50)


class Planted:
    """Makes a folder when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.mkdir, (self.mark,)  # type: ignore[return-value]


def test_pickles_are_refused_and_not_run(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    (tmp_path / "ref.pkl").write_bytes(pickle.dumps({"fid": Planted(mark)}))
    objects = np.array([Planted(mark)], dtype=object)
    np.savez(tmp_path / "objects.npz", mu=objects, sigma=objects)
    np.save(tmp_path / "objects.npy", objects)
    for name in ("ref.pkl", "objects.npz", "objects.npy"):
        with pytest.raises(ValueError, match=r"allowed: an .npz with mu \(D,\)"):
            read_statistics(tmp_path / name)
    assert not mark.exists()
    pickle.loads((tmp_path / "ref.pkl").read_bytes())
    assert mark.exists()  # it does what it is made for


GOOD = numpys(features(50))


@pytest.mark.parametrize(
    "values",
    [
        {"mu": GOOD["mu"]},
        {"feats": GOOD["sigma"]},
        {**GOOD, "mu": GOOD["sigma"]},
        {**GOOD, "mu": GOOD["mu"][:-1]},
        {**GOOD, "mu": GOOD["mu"].astype(int)},
        {**GOOD, "mu": GOOD["mu"] * np.nan},
        {**GOOD, "sigma": GOOD["sigma"] * np.nan},
        {**GOOD, "sigma": GOOD["sigma"] + np.triu(np.ones((6, 6)), 1)},
    ],
)
def test_what_is_no_mean_and_covariance_is_refused(
    tmp_path: Path, values: dict[str, np.ndarray]
) -> None:
    np.savez(tmp_path / "ref.npz", **values)
    with pytest.raises(ValueError, match=r"allowed: an .npz with mu \(D,\) and sigma"):
        read_statistics(tmp_path / "ref.npz")


def test_missing_and_cut_files_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "ref.npz", **GOOD)
    whole = (tmp_path / "ref.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    damaged = bytearray(whole)
    damaged[150] ^= 255
    (tmp_path / "damaged.npz").write_bytes(bytes(damaged))
    for name in ("none.npz", "cut.npz", "damaged.npz"):
        with pytest.raises(ValueError, match=r"allowed: an \.npz"):
            read_statistics(tmp_path / name)
