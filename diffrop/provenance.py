"""What is needed to know later how a result was made."""

import functools
import hashlib
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path
from typing import Any

PACKAGES = ("diffrop-studies", "torch", "torchvision", "ray", "optuna", "mlflow", "torch-fidelity")
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
MAX_CHANGES, MAX_CARD_CHANGES = 2**20, 2**16
"""Bytes of the changes to a checkout that a study and a checkpoint keep; of more, the hash."""
TIMEOUT_S = 10


@functools.cache
def package_versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that shape a result."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


@functools.cache
def git_commit() -> str:
    """Return the commit of this checkout, marked `+changes` if edited, or "unknown"."""
    described = _git("describe", "--always", "--abbrev=40", "--dirty=+changes")
    return described.decode().strip() if described else "unknown"


@functools.cache
def git_changes() -> bytes:
    """Return the changes of this checkout since its commit, as `git apply` takes them.

    Nothing without a checkout. Files that git does not track are not in it: `git_untracked`.
    """
    return _git("diff", "HEAD", "--binary") or b""


@functools.cache
def git_untracked() -> list[str]:
    """Return the package's Python files that git does not track, from the top of the checkout.

    Neither the commit nor the changes have them, though they may be imported.
    """
    found = _git("ls-files", "--others", "--full-name", "-z", "--", "*.py") or b""
    return sorted(filter(None, found.decode("utf-8", "replace").split("\0")))


def card_changes() -> str:
    """Return the changes as the card of a checkpoint keeps them; "" if there are too many."""
    changes = git_changes()
    return changes.decode("utf-8", "replace") if len(changes) <= MAX_CARD_CHANGES else ""


@functools.cache
def environment() -> dict[str, Any]:
    """Return what this process runs on, as study.yaml and checkpoints keep it.

    Its keys: git_commit; git_changes (SHA-256 of `git_changes`, "" without any); git_untracked
    (names); python; platform; cpu; num_cpus; gpus (name and driver of each of the machine);
    threads (what limits or counts them, by name); packages (the version of each that is installed,
    by name).
    """
    changes = git_changes()
    return {
        "git_commit": git_commit(),
        "git_changes": hashlib.sha256(changes).hexdigest() if changes else "",
        "git_untracked": git_untracked(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": _cpu(),
        "num_cpus": os.cpu_count(),
        "gpus": _gpus(),
        "threads": _threads(),
        "packages": _packages(),
    }


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """Return in what two environments differ, a line each: name, there, here."""
    lines = []
    for key, value in there.items():
        now = here.get(key)
        if isinstance(value, Mapping) and isinstance(now, Mapping):
            names = dict.fromkeys([*value, *now])
            pairs = [(name, value.get(name), now.get(name)) for name in names]
        else:
            pairs = [(key, value, now)]
        lines += [f"{name}: {_word(a)} there, {_word(b)} here" for name, a, b in pairs if a != b]
    return lines


def _word(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return str(value) if value not in (None, "") else "none"


def _cpu() -> str:
    """Return the name of the processor, or its architecture where that is not told."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _gpus() -> list[str]:
    """Return "NAME, driver VERSION" of each GPU that nvidia-smi knows."""
    query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    found = _output(query, Path.cwd()) or b""
    rows = [line.rpartition(",") for line in found.decode("utf-8", "replace").splitlines()]
    return [f"{name.strip()}, driver {driver.strip()}" for name, _, driver in rows if name]


def _threads() -> dict[str, int | str]:
    """Return what says how many threads this process computes with."""
    found: dict[str, int | str] = {
        name: os.environ[name] for name in THREAD_VARIABLES if name in os.environ
    }
    torch = sys.modules.get("torch")  # importing it takes seconds
    return found if torch is None else found | {"torch": int(torch.get_num_threads())}


def _packages() -> dict[str, str]:
    found = {each.name: each.version for each in distributions() if each.name}
    return dict(sorted(found.items(), key=lambda item: item[0].lower()))


def _git(*words: str) -> bytes | None:
    """Return what git says of this checkout.

    None without git, and where this file is not git's: a wheel may be installed inside of another
    project's checkout.
    """
    here = Path(__file__).resolve()
    if _output(["git", "ls-files", "--error-unmatch", here.name], here.parent) is None:
        return None
    return _output(["git", *words], here.parent)


def _output(command: list[str], folder: Path) -> bytes | None:
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, timeout=TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout
