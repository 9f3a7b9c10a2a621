"""Records that lie in a study's folder and in its database: whoever has one of them has both."""

from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import optuna

from diffrop.record.codec import decode, encode
from diffrop.record.confirmation import ConfirmationRecord
from diffrop.record.cost import CostRecord
from diffrop.record.json_files import parse_record, read_record, write_record
from diffrop.record.kinds import set_damaged_aside
from diffrop.record.study_folder import StudyFolder

Record = TypeVar("Record")


def share_record(study: optuna.Study, path: Path, record: Any) -> None:
    """Write a record into the study's folder and, as an attribute, into Optuna's study.

    The attribute has the file's name without .json. It is JSON in a column of type TEXT: without
    limit but in MySQL, whose 65,535 bytes no record reaches.
    """
    write_record(path, record)
    study.set_user_attr(path.stem, encode(record))


def shared_copy(study: optuna.Study, path: Path, cls: type[Record]) -> Record | None:
    """Return what `share_record` put into the database; None if there is nothing it can read."""
    try:
        return decode(cls, study.user_attrs.get(path.stem))
    except ValueError:
        return None


def restore_shared(study: optuna.Study, folder: StudyFolder) -> None:
    """Write records that `share_record` put into the database, and that the folder has lost.

    What an earlier version wrote there and this one cannot read is left where it is.

    Raises:
        StudyError: the present record of the confirmation is damaged.
    """
    kinds: tuple[tuple[Path, type[Any]], ...] = (
        (folder.cost, CostRecord),
        (folder.confirmation, ConfirmationRecord),
    )
    for path, kind in kinds:
        set_damaged_aside(path, partial(parse_record, cls=kind))
        copy = shared_copy(study, path, kind)
        if copy is not None and read_record(path, kind) is None:
            write_record(path, copy)
