import re
from importlib.metadata import version

from diffrop.provenance import PACKAGES, git_commit, package_versions


def test_every_package_has_its_version() -> None:
    found = package_versions()
    assert found.keys() == {"python", *PACKAGES}
    assert found["torch"] == version("torch")


def test_commit_is_a_hash_or_unknown() -> None:
    assert re.fullmatch(r"[0-9a-f]{40}(\+changes)?|unknown", git_commit())
