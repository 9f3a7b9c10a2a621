"""The optional extras of the package, and how one is added to what is installed here."""

import shlex
from importlib import metadata
from pathlib import Path
from typing import Literal

PACKAGE = "diffrop-studies"

Extra = Literal["diffusers", "efficientnet", "postgresql"]
"""Those whose lack the program meets."""


def install_command(extra: Extra) -> str:
    """Return what is typed to add an extra: to the checkout that runs, else to the package.

    Environments of uv have no pip.
    """
    checkout = Path(__file__).resolve().parents[1]
    what = ["-e", str(checkout)] if _is_checkout(checkout) else [PACKAGE]
    has_pip = any(metadata.distributions(name="pip"))  # to look for a spec would undo setuptools
    installer = ["python", "-m", "pip"] if has_pip else ["uv", "pip"]
    return shlex.join([*installer, "install", *what[:-1], f"{what[-1]}[{extra}]"])


def _is_checkout(folder: Path) -> bool:
    """Whether a folder that holds the package is that of its sources, not of installed ones."""
    try:
        return f'name = "{PACKAGE}"' in (folder / "pyproject.toml").read_text("utf-8")
    except OSError:
        return False
