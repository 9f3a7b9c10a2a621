"""Files that outlive a crash, and their copies in a remote storage (s3://, gs://, file://).

Where nodes share no file system, each works on a folder of its own, and what it writes is copied
to the remote storage, from which another node takes it over.
"""

import fcntl
import itertools
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING

from diffrop.errors import StorageError

if TYPE_CHECKING:  # pyarrow is imported where a remote storage is used: it takes its time
    from pyarrow.fs import FileInfo, SubTreeFileSystem

CHUNK_BYTES = 8 * 2**20
LOCK_POLL_S = 0.02
UNSHARED = (".*", "*.lock", "*.tmp", "*.damaged*")
"""Names that mean something on one machine alone."""
TEMPORARY = re.compile(r"\..+\.[0-9a-f]{32}\.tmp|\.tmp[0-9A-Za-z]{6}")
"""Names of half-written files: those of `temporary_beside`, and those of safetensors."""


def temporary_beside(path: Path) -> Path:
    """Return a name beside a file that no other process uses, to write under before renaming."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")


@contextmanager
def written_atomically(path: Path, *, synced: bool = True) -> Iterator[Path]:
    """Give a name to write a file under; afterwards it is on the disk under its own, whole.

    If writing fails, the file is as it was, and nothing else is left. A folder in the file's
    place is set aside.

    Args:
        path: of the file.
        synced: whether it is on the disk for good, which a busy disk may take seconds for.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(path)
    try:
        yield temporary
        if synced:
            _sync(temporary)
        if path.is_dir():
            set_aside(path)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if synced:
        with suppress(OSError):  # the file is there; not every file system syncs a folder
            _sync(path.parent)


def write_atomically(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    with written_atomically(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _sync(path: Path) -> None:
    """Have a file, or the names in a folder, on the disk before going on."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def set_aside(path: Path) -> Path:
    """Rename what is damaged to NAME.damaged, where nothing reads it; return its new place."""
    first = path.with_name(f"{path.name}.damaged")
    further = (first.with_name(f"{first.name}-{number}") for number in itertools.count(2))
    place = next(
        place for place in itertools.chain([first], further) if not os.path.lexists(place)
    )
    path.rename(place)
    return place


def sweep_temporaries(folder: Path, older_than_s: float = 0.0) -> None:
    """Remove what writers that were killed left in a folder.

    Args:
        folder: to sweep; it need not exist.
        older_than_s: age of what is removed, for folders in which another process may write.
    """
    for path in folder.glob(".*"):
        if TEMPORARY.fullmatch(path.name) and path.is_file():
            with suppress(OSError):  # another process swept it, or finished it
                if time.time() - path.stat().st_mtime >= older_than_s:
                    path.unlink()


@contextmanager
def try_lock(path: Path, wait_s: float = 0.0) -> Iterator[bool]:
    """Hold a file's lock and say whether that worked: another process may hold it.

    The lock goes with the process, even if it is killed, and reaches as far as the file system.

    Args:
        path: the file; it is made.
        wait_s: longest wait for another process.
    """
    until = time.monotonic() + wait_s
    with path.open("w") as file:
        while not (held := _take_lock(file)) and time.monotonic() < until:
            time.sleep(LOCK_POLL_S)
        yield held


def _take_lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@dataclass(frozen=True)
class RemoteMirror:
    """A remote copy of a local folder; paths are local ones below `root`.

    Files travel whole: under a temporary name, then renamed. A machine that takes over pulls
    first, and from then on its own version counts.
    """

    uri: str
    """Place in any file system that pyarrow knows, such as s3://bucket/runs."""
    root: Path
    """The local folder that it mirrors; absolute."""

    @cached_property
    def _remote(self) -> "SubTreeFileSystem":
        from pyarrow.fs import FileSystem, SubTreeFileSystem

        try:
            system, path = FileSystem.from_uri(self.uri)
        except (OSError, ValueError) as error:
            raise ValueError(
                f"the storage URI cannot be used ({error}); allowed: s3://bucket/folder, "
                "gs://bucket/folder, file:///folder"
            ) from error
        return SubTreeFileSystem(path, system)

    def check(self) -> None:
        """Write, read and delete a file there, before anything relies on it.

        Raises:
            ValueError: no file system has such a URI.
            StorageError: it is out of reach or refuses.
        """
        name = f".check-{uuid.uuid4().hex}"
        remote = self._remote
        with self._errors_as("written to"):
            if not _is_object_store(remote):
                remote.base_fs.create_dir(remote.base_path, recursive=True)
            with remote.open_output_stream(name) as stream:
                stream.write(b"diffrop")
            with remote.open_input_stream(name) as stream:
                found = stream.read()
            remote.delete_file(name)
        if found != b"diffrop":
            raise StorageError(f"{self._place} does not give back what was written to it")

    def push(self, path: Path) -> list[Path]:
        """Copy a file, or a folder with all below it, to the remote storage, where it differs.

        Returns:
            the files copied.

        Raises:
            StorageError: the remote storage is out of reach or refuses.
        """
        there = {info.path: info for info in self._list(path)}
        copied = []
        for file in _files(path):
            info = there.get(self._name(file))
            status = file.stat()
            known = (-1, -1) if info is None else (info.size, info.mtime_ns)
            if status.st_size == known[0] and status.st_mtime_ns <= known[1]:
                continue
            self._upload(file)
            copied.append(file)
        return copied

    def pull(self, path: Path, skip: str | None = None) -> list[Path]:
        """Copy a file, or a folder with all below it, from the remote storage, where it is newer.

        Args:
            path: where it belongs here; nothing happens if it is not there.
            skip: pattern of file names to leave where they are.

        Returns:
            the files copied.

        Raises:
            StorageError: the remote storage is out of reach or refuses.
        """
        copied = []
        for info in self._list(path):
            target = self.root / info.path
            if any(target.match(pattern) for pattern in UNSHARED):
                continue
            if skip is not None and target.match(skip):
                continue
            status = target.stat() if target.exists() else None
            if status is not None and status.st_mtime_ns >= info.mtime_ns:
                continue
            self._download(info, target)
            copied.append(target)
        return copied

    def names(self, folder: Path) -> list[str]:
        """Return the names of the files directly in a folder of the remote storage."""
        from pyarrow.fs import FileSelector

        with self._errors_as("read"):
            selector = FileSelector(self._name(folder), allow_not_found=True)
            found = self._remote.get_file_info(selector)
        return sorted(info.base_name for info in found if info.is_file)

    def exists(self, path: Path) -> bool:
        """Return whether the remote storage has a file."""
        with self._errors_as("read"):
            return bool(self._remote.get_file_info(self._name(path)).is_file)

    def delete(self, path: Path) -> None:
        """Delete a file, or a folder with all below it, if it is there."""
        from pyarrow.fs import FileType

        name = self._name(path)
        with self._errors_as("written to"):
            match self._remote.get_file_info(name).type:
                case FileType.File:
                    self._remote.delete_file(name)
                case FileType.Directory:
                    self._remote.delete_dir(name)

    def _list(self, path: Path) -> "list[FileInfo]":
        from pyarrow.fs import FileSelector, FileType

        name = self._name(path)
        with self._errors_as("read"):
            found = self._remote.get_file_info(name)
            if found.type == FileType.Directory:
                selector = FileSelector(name, recursive=True, allow_not_found=True)
                files = [i for i in self._remote.get_file_info(selector) if i.is_file]
                return [i for i in files if ".." not in Path(i.path).parts]  # stay below `root`
        return [found] if found.is_file else []

    def _upload(self, file: Path) -> None:
        name = self._name(file)
        temporary = f"{name}.{uuid.uuid4().hex}.tmp"
        with self._errors_as("written to"):
            if not _is_object_store(self._remote):
                self._remote.create_dir(str(Path(name).parent), recursive=True)
            try:
                with file.open("rb") as source, self._remote.open_output_stream(temporary) as sink:
                    shutil.copyfileobj(source, sink, CHUNK_BYTES)
                self._remote.move(temporary, name)
            except OSError:
                with suppress(OSError):  # the first error is the one to report
                    self._remote.delete_file(temporary)
                raise
            info = self._remote.get_file_info(name)
        os.utime(file, ns=(info.mtime_ns, info.mtime_ns))  # the same version on both sides

    def _download(self, info: "FileInfo", target: Path) -> None:
        with (
            self._errors_as("read"),
            written_atomically(target) as temporary,
            self._remote.open_input_stream(info.path) as source,
            temporary.open("wb") as sink,
        ):
            shutil.copyfileobj(source, sink, CHUNK_BYTES)
        os.utime(target, ns=(info.mtime_ns, info.mtime_ns))

    def _name(self, path: Path) -> str:
        """Return a local path as the remote storage names it."""
        return path.relative_to(self.root).as_posix()

    @property
    def _place(self) -> str:
        """The storage without the password that its URI may hold."""
        return f"the storage {self._remote.base_fs.type_name}:{self._remote.base_path}"

    @contextmanager
    def _errors_as(self, how: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            cause = " ".join(str(error).split())[:300]
            raise StorageError(f"{self._place} cannot be {how} ({cause})") from error


def _is_object_store(remote: "SubTreeFileSystem") -> bool:
    """Whether folders come and go with the files in them."""
    return remote.base_fs.type_name in ("s3", "gcs", "abfs")


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    found = [
        Path(folder) / name for folder, _, names in os.walk(path) for name in names
    ]  # links to folders are not followed
    return sorted(
        file
        for file in found
        if not file.is_symlink() and not any(file.match(pattern) for pattern in UNSHARED)
    )
