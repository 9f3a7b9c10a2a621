"""Archives of NumPy arrays (`.npz`), read without unpickling anything."""

import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def read_arrays(path: Path, allowed: str) -> dict[str, NDArray[np.generic]]:
    """Return the arrays of a file by their names.

    Args:
        path: the file.
        allowed: what the sentence of an error says of the format.

    Raises:
        ValueError: there is no such file, or it is no `.npz` of plain arrays.
    """
    if not path.is_file():
        raise ValueError(f"{str(path)!r} is no file; allowed: {allowed}")
    if not zipfile.is_zipfile(path):
        raise ValueError(
            f"{str(path)!r} is no .npz, a pickled one neither read; allowed: {allowed}"
        )
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{str(path)!r} cannot be read ({reason}); allowed: {allowed}") from error
