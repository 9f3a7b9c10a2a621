"""What a launch does about a study's damaged files before it goes on with it."""

import contextlib
from functools import partial

from diffrop.checkpoint_file import read_checkpoint
from diffrop.checkpoint_header import read_header
from diffrop.engine.study_run import StudyRun
from diffrop.errors import CheckpointError
from diffrop.record.artifacts import restore_grids
from diffrop.record.json_files import parse_record
from diffrop.record.kinds import set_damaged_aside
from diffrop.record.rung_agreement import AgreementRecord
from diffrop.record.shared_records import restore_shared
from diffrop.storage import sweep_temporaries


def set_damaged_files_aside(run: StudyRun) -> None:
    """Give way to what is made again, and take from the database what the folder has lost.

    A driver that joins others leaves all as it is: they may be writing.

    Raises:
        StudyError: a precious file is damaged.
        NewerFormatError: a later version wrote a file, which this one must not replace.
    """
    if run.drivers.others():
        return
    folder = run.folder
    sweep_temporaries(folder.path)
    restore_shared(run.study, folder)
    restore_grids(run.study, folder)
    set_damaged_aside(folder.rung_agreement, partial(parse_record, cls=AgreementRecord))
    for trial in (*folder.prefixes(), *folder.trials(), *folder.retrainings()):
        trial.set_damaged_aside(read_checkpoint)
        for path in trial.training(folder.store).checkpoints():
            with contextlib.suppress(CheckpointError):  # the one before is used
                read_header(path)
