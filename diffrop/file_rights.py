"""Who may read and write what the project makes."""

import contextlib
import os
from pathlib import Path

OTHERS_WRITE = 0o002


def keep_others_out() -> None:
    """Have this process, and those that it starts, make no file that everybody may write.

    What the user's own umask takes away besides stays away; a group may write where it lets it.
    """
    os.umask(os.umask(0o077) | OTHERS_WRITE)


def create_private(path: Path) -> None:
    """Make an empty file that its owner alone may read and write, unless there is one.

    SQLite takes an empty file as a new database, and gives its journals the same rights. Of a
    file that there is, the rights are left as its owner has set them.

    Raises:
        OSError: the file cannot be made.
    """
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
