"""study.yaml: the configuration of a study, with its format and the command that started it."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from diffrop.errors import NewerFormatError, StudyError
from diffrop.record.kinds import file_of, read_stored
from diffrop.record.study_folder import StudyFolder, study_names
from diffrop.storage import write_atomically
from diffrop.study.config import STUDY_FORMAT, StudyConfig
from diffrop.yaml_text import load_yaml

SEAL = "# SHA-256 of what follows: "


def read_settings(folder: StudyFolder) -> dict[str, Any]:
    """Return what study.yaml holds.

    Raises:
        ValueError: the folder is no study.
        StudyError: the file is damaged.
        NewerFormatError: a later version wrote it.
    """
    if not os.path.lexists(folder.config):
        known = ", ".join(study_names(folder.path))
        hint = f"; allowed: one of its folders {known}" if known else ""
        raise ValueError(f"{folder.path} is no study: it holds no {folder.config.name}{hint}")
    return read_stored(folder.config, _read) or {}


def _read(path: Path) -> dict[str, Any]:
    if not is_intact(path.read_text("utf-8")):
        raise ValueError(f"{path} was altered since it was written")
    content = load_yaml(path)
    if not isinstance(content, dict):
        raise ValueError(f"{path} is not a mapping, so this is no study")
    number = content.get("format")
    if type(number) is int and number > STUDY_FORMAT:
        raise NewerFormatError(path, number, STUDY_FORMAT)
    if number != STUDY_FORMAT:
        raise ValueError(
            f"{path} has format {number!r}; allowed: {STUDY_FORMAT}, the format of this version"
        )
    return content


def config_of(folder: StudyFolder, settings: Mapping[str, Any]) -> StudyConfig:
    """Return the configuration in what study.yaml holds.

    Raises:
        StudyError: a key is missing or unknown, or a value is not allowed.
    """
    try:
        return StudyConfig.from_settings(settings)
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise StudyError(
            f"cannot read {folder.config} ({error}). To fix: {file_of(folder.config).damaged}"
        ) from error


def write_settings(folder: StudyFolder, content: Mapping[str, Any]) -> None:
    """Write study.yaml; its first line has the SHA-256 of the others."""
    text = yaml.safe_dump(dict(content), sort_keys=False)
    write_atomically(folder.config, f"{SEAL}{_sha256(text)}\n{text}")


def is_intact(text: str) -> bool:
    """Return whether study.yaml is as it was written; files of earlier versions do not tell."""
    first, _, rest = text.partition("\n")
    return not first.startswith(SEAL) or first.removeprefix(SEAL).strip() == _sha256(rest)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
