"""Which files of a study's record are artifacts, and where they lie in a run's folder `record`.

The tables and records of the whole study have their names there. A file of a trial's folder has
its path in that folder, so `scores/images_000000005120.json`; a file of a training has its path
beside the studies, `checkpoints/KEY/cost.jsonl`. No weights.
"""

from pathlib import Path, PurePosixPath

from diffrop.record.study_folder import StudyFolder
from diffrop.record.trainings import StoredTraining
from diffrop.record.trial_folder import TrialFolder

RECORD = "record"
"""The artifact folder of the record's files."""
REPORT = "report"
"""The artifact folder of the report and its figures."""
STORE = "checkpoints"


def study_files(folder: StudyFolder) -> list[Path]:
    """Return the tables and records of a whole study, which need not exist."""
    return [
        folder.config,
        folder.launches,
        folder.changes,
        *sorted(folder.path.glob(folder.changes_of("*").name)),
        folder.trials_table,
        folder.best,
        folder.reference_scores,
        folder.cost,
        folder.rung_agreement,
        folder.confirmation,
        folder.front_table,
        folder.warm_start,
    ]


def trial_record(folder: TrialFolder) -> dict[str, Path]:
    """Return what is stored of a trial or a retraining, by its path in the artifact folder."""
    own = [folder.training_note, folder.failure_path, *folder.score_files()]
    files = {path.relative_to(folder.path).as_posix(): path for path in own}
    if folder.training_link.exists():
        training: StoredTraining | None = folder.training()
        files |= _of_training(folder.training().curves_path)
        while training is not None:  # what it went on from has its share of the cost
            files |= _of_training(training.identity_path) | _of_training(training.costs_path)
            parent = training.parent()
            training = StoredTraining(training.path.parent / parent[0]) if parent else None
    return {name: path for name, path in files.items() if path.is_file()}


def study_record(folder: StudyFolder) -> dict[str, Path]:
    """Return the study's own files, and what is stored of what trials fork from, likewise."""
    found = {path.name: path for path in study_files(folder) if path.is_file()}
    for prefix in folder.prefixes():
        place = prefix.path.relative_to(folder.path).as_posix()
        for name, path in trial_record(prefix).items():
            shared = PurePosixPath(name).parts[0] == STORE
            found[name if shared else f"{place}/{name}"] = path
    return found


def place_of(name: PurePosixPath, folder: Path, store: Path) -> Path:
    """Return where a file of the artifact folder belongs.

    Args:
        name: its path in the artifact folder.
        folder: of the trial; of the study for what trials fork from.
        store: the trainings of all studies.
    """
    return store / name.relative_to(STORE) if name.parts[0] == STORE else folder / name


def _of_training(path: Path) -> dict[str, Path]:
    return {f"{STORE}/{path.parent.name}/{path.name}": path}
