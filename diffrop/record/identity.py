"""Who a study is: a random token that tells it from every other study of its name.

A name is used again: after a folder was deleted, in another runs folder, by another person on the
same MLflow server. What is kept outside of the folder is matched by the token, never by the name.
"""

import os
import secrets
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from diffrop.record.json_files import parse_record, read_record, write_record
from diffrop.record.kinds import set_damaged_aside
from diffrop.record.study_folder import StudyFolder
from diffrop.storage import temporary_beside

TOKEN_BYTES = 6
"""As hexadecimal digits a token is short enough to be typed."""


@dataclass(frozen=True, kw_only=True)
class StudyIdentity:
    """The content of identity.json."""

    token: str


def identity_of(folder: StudyFolder) -> str:
    """Return the token of a study or training; it is made at the first launch.

    So a study of an earlier version, which has none, gets one when it is resumed. A file that
    cannot be read is set aside and made again: MLflow then gets runs of its own for everything
    that the folder holds.

    Raises:
        OSError: the folder cannot be written.
    """
    path = folder.identity
    found = _read(path)
    if found is not None:
        return found.token
    own = temporary_beside(path)
    try:
        write_record(own, StudyIdentity(token=secrets.token_hex(TOKEN_BYTES)))
        os.link(own, path)  # unlike a rename, it lets the first of several drivers win
    except FileExistsError:
        pass
    finally:
        own.unlink(missing_ok=True)
    found = _read(path)
    if found is None:
        raise OSError(f"{path} was removed while it was made")
    return found.token


def _read(path: Path) -> StudyIdentity | None:
    """Return what a file holds; None without it, or where it had to be set aside."""
    set_damaged_aside(path, partial(parse_record, cls=StudyIdentity))
    return read_record(path, StudyIdentity)
