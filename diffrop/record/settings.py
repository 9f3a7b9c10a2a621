"""study.yaml: the configuration of a study, with its format and the command that started it."""

from collections.abc import Mapping
from typing import Any

from diffrop.record.study_folder import StudyFolder, study_names
from diffrop.study.config import STUDY_FORMAT, StudyConfig
from diffrop.yaml_text import load_yaml


def read_settings(folder: StudyFolder) -> dict[str, Any]:
    """Return what study.yaml holds.

    Raises:
        ValueError: the folder is no study, or one of another format.
    """
    path = folder.config
    if not path.is_file():
        known = ", ".join(study_names(folder.path))
        hint = f"; allowed: one of its folders {known}" if known else ""
        raise ValueError(f"{folder.path} is no study: it holds no {path.name}{hint}")
    content = load_yaml(path)
    if not isinstance(content, dict):
        raise ValueError(f"{path} is not a mapping, so this is no study")
    if content.get("format") != STUDY_FORMAT:
        raise ValueError(
            f"{path} has format {content.get('format')!r}; allowed: {STUDY_FORMAT}, the format "
            "of this version"
        )
    return content


def config_of(folder: StudyFolder, settings: Mapping[str, Any]) -> StudyConfig:
    """Return the configuration in what study.yaml holds.

    Raises:
        ValueError: a key is missing or unknown, or a value is not allowed.
    """
    try:
        return StudyConfig.from_settings(settings)
    except ValueError as error:
        raise ValueError(f"cannot read {folder.config} ({error})") from error
