"""Weight files, by path or by URL with a digest."""

import hashlib
import re
import urllib.error
from pathlib import Path

DIGEST = re.compile(r"[0-9a-f]{8,64}")


def weights_file(location: str, cache: Path) -> Path:
    """Return the path of a weight file, downloaded once if it is a URL.

    Args:
        location: a path, or URL#sha256=HEX with the file's SHA-256 or its first 8 digits and more.
        cache: folder for downloads.

    Raises:
        ValueError: no such file, no digest, a failed download or another digest.
    """
    if "://" not in location:
        if not Path(location).is_file():
            raise ValueError(f"extractor_weights is {location!r}, which is no file")
        return Path(location)
    url, _, digest = location.partition("#sha256=")
    if not DIGEST.fullmatch(digest):
        raise ValueError(
            f"extractor_weights is {location!r}; allowed: a file, or URL#sha256=HEX with the "
            "file's digest"
        )
    path = _download(digest, cache)
    if path.exists() and sha256_of(path).startswith(digest):
        return path
    import torch  # here: nothing but a download needs it

    cache.mkdir(parents=True, exist_ok=True)
    try:
        torch.hub.download_url_to_file(url, str(path), hash_prefix=digest, progress=False)
    except (OSError, RuntimeError, urllib.error.URLError) as error:
        raise ValueError(
            f"{url} could not be downloaded ({error}). To fix: name a file with "
            "--extractor-weights, or another --extractor."
        ) from error
    return path


def is_at_hand(location: str, cache: Path) -> bool:
    """Return whether a weight file needs no download: one that is missing needs none either.

    Args:
        location: as for `weights_file`.
        cache: folder for downloads.
    """
    return "://" not in location or _download(location.rpartition("=")[2], cache).exists()


def _download(digest: str, cache: Path) -> Path:
    return cache / f"weights-{digest[:16]}"


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, which may be too large to be held in memory."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
