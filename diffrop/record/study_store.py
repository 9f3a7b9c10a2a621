"""A study on disk: its folder, its configuration, its lock and its Optuna database."""

import contextlib
import os
import shutil
import sqlite3
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import DuplicatedStudyError, OptunaError, StorageInternalError
from optuna.study import StudyDirection
from sqlalchemy.exc import SQLAlchemyError

from diffrop.errors import StudyError
from diffrop.extras import install_command
from diffrop.file_rights import create_private
from diffrop.patience import Patience
from diffrop.provenance import environment, git_changes
from diffrop.record.creation_lock import creation_lock
from diffrop.record.identity import identity_of
from diffrop.record.launches import Launch, keep_launch
from diffrop.record.patient_storage import open_patiently
from diffrop.record.settings import config_of, read_settings, write_settings
from diffrop.record.study_folder import StudyFolder, study_names
from diffrop.redaction import redact
from diffrop.schema import flatten, value_differences
from diffrop.sqlite_file import read_only_url, sqlite_url
from diffrop.study.config import STUDY_FORMAT, LaunchConfig, StudyConfig

LOCK_WAIT_S = 5
CREATION_WAIT_S = 60.0


# May change between launches: how many trials, not what a trial is.
LAUNCH_KEYS = ("num_trials",)


# Names of the attributes of Optuna's study that say what it is.
CONFIG, FINGERPRINTS = "config", "facts"


class StudyStore:
    """The folder `runs/<study>`."""

    def __init__(self, runs_root: Path, name: str) -> None:
        """Name the folder; nothing is touched. `name` was checked by StudyConfig."""
        self.folder = StudyFolder(runs_root.resolve() / name)
        self.path = self.folder.path
        self.name = name

    def check(self, config: StudyConfig, launch: LaunchConfig, *, unclaimed: bool = False) -> None:
        """Refuse what would mix or lose results, before anything starts.

        Args:
            config: the study.
            launch: how it runs this time.
            unclaimed: whether the folder holds a preparation alone that nobody else is at.

        Raises:
            StudyError: the name is taken, or there is nothing to resume, or the configuration
                is not the one that the study was started with.
        """
        if self.path.is_symlink():
            raise StudyError(f"{self.path} is a symbolic link; allowed: a folder of its own")
        if not is_writable(self.path.parent):
            raise StudyError(
                f"cannot write in {self.path.parent}; allowed: a --runs-root in which you may "
                "create folders"
            )
        for path in self._written():
            if not os.access(path, os.W_OK):
                raise StudyError(
                    f"cannot write {path}, which may belong to somebody else or lie on a disk "
                    "that is read-only. To fix: make it writable"
                )
        if not launch.resume:
            if self.path.exists() and not unclaimed:
                way = "carry it on with --resume" if self.folder.config.exists() else "remove it"
                raise StudyError(
                    f"study {self.name!r} exists in {self.path}; {way}, or name another with "
                    "--study-name"
                )
            return
        if not self.folder.config.exists():
            raise StudyError(
                f"there is no study {self.name!r} in {self.path.parent} to resume; {self._known()}"
            )
        differing = config_differences(self.read_config(), config)
        if differing:
            raise StudyError(
                f"study {self.name!r} was started with another configuration: "
                f"{'; '.join(differing)}; resume it as it was, or start another study"
            )

    def create(
        self,
        config: StudyConfig,
        command: str,
        launch: LaunchConfig,
        fingerprints: Mapping[str, str],
        patience: Patience | None = None,
    ) -> optuna.Study:
        """Make the folder and the Optuna study, both with the configuration.

        No folder is left behind without its study.

        Args:
            config: the study.
            command: the command line, kept in the folder.
            launch: its first.
            fingerprints: what scores depend on beside the configuration, such as the digest of the
                images; `resume` holds later launches to them.
            patience: with the database, once it is open; None has little.

        Raises:
            StudyError: the folder cannot be written, or the database cannot be used.
        """
        try:
            prepared = self.folder.preparing.exists() and not self.folder.config.exists()
            self.path.mkdir(parents=True, exist_ok=prepared)
            try:
                objectives = config.experiment.evaluation.objectives
                study = self.open(launch, len(objectives), patience)
                _name_metrics(study, objectives)
                study.set_user_attr(FINGERPRINTS, dict(fingerprints))
                study.set_user_attr(CONFIG, _fixed(config))
                identity_of(self.folder)
                self._write(config, command)  # the last: whoever sees it may resume
            except BaseException:
                shutil.rmtree(self.path)
                raise
        except OSError as error:
            raise StudyError(
                f"cannot write {self.path} ({error.strerror}); allowed: a --runs-root in which "
                "you may create folders"
            ) from error
        return study

    def resume(
        self,
        config: StudyConfig,
        command: str,
        launch: LaunchConfig,
        fingerprints: Mapping[str, str],
        patience: Patience | None = None,
    ) -> optuna.Study:
        """Open the Optuna study that `create` made of this configuration and these fingerprints.

        Raises:
            StudyError: the database cannot be used, or holds another study; or the configuration
                of this launch cannot be written.
        """
        study = self.open(launch, patience=patience)
        before, known = study.user_attrs.get(CONFIG), study.user_attrs.get(FINGERPRINTS, {})
        if before is None:
            raise StudyError(
                f"the database's study {self.name!r} does not say how it is configured, so it is "
                "of an earlier version or not of this program; start another study"
            )
        there = StudyConfig.from_dict(before | {key: getattr(config, key) for key in LAUNCH_KEYS})
        differing = config_differences(there, config)
        differing += [
            f"{key} {known[key]!r} -> {now!r}"
            for key, now in fingerprints.items()
            if known.get(key, now) != now
        ]
        if differing:
            raise StudyError(
                f"the database's study {self.name!r} was started with something else: "
                f"{'; '.join(differing)}; resume it as it was, or start another study"
            )
        objectives = config.experiment.evaluation.objectives
        if study.metric_names != list(objectives):  # an earlier version named none
            _name_metrics(study, objectives)
        try:
            identity_of(self.folder)
            self._write(config, command)
        except OSError as error:
            raise StudyError(f"cannot write in {self.path} ({error.strerror})") from error
        return study

    def _write(self, config: StudyConfig, command: str) -> None:
        launch = Launch(command=command, environment=environment(), time=time.time())
        keep_launch(self.folder, launch, git_changes())
        content = {"format": STUDY_FORMAT, "command": command, **config.to_dict()}
        write_settings(self.folder, content | {"environment": launch.environment})

    def read_config(self) -> StudyConfig:
        """Return the configuration of the study's newest launch.

        Raises:
            StudyError: it is damaged, or of another format.
            NewerFormatError: a later version wrote it.
        """
        return config_of(self.folder, read_settings(self.folder))

    def open(
        self,
        launch: LaunchConfig,
        num_objectives: int = 1,
        patience: Patience | None = None,
    ) -> optuna.Study:
        """Open the Optuna study, or make it for a new one; never a silent second one.

        Args:
            launch: storage, and whether the study is resumed.
            num_objectives: of a new study.
            patience: with the database, once it is open; None has little.

        Raises:
            StudyError: the database is missing, damaged, locked or out of reach.
        """
        if launch.storage is None:
            if launch.resume:
                check_database(self.folder.database)
            else:
                create_private(self.folder.database)
        url = launch.storage or sqlite_url(self.folder.database)
        shown = redact(url)
        try:
            with self._creation_lock(launch):
                storage = open_patiently(url, patience or Patience(LOCK_WAIT_S))
            if launch.resume:
                return optuna.load_study(study_name=self.name, storage=storage)
            directions = [StudyDirection.MINIMIZE] * num_objectives
            return optuna.create_study(
                study_name=self.name, storage=storage, directions=directions
            )
        except DuplicatedStudyError as error:
            raise StudyError(
                f"study {self.name!r} exists in {shown}, but not in {self.path.parent}; resume it "
                "in the runs folder where it began, or name another with --study-name"
            ) from error
        except KeyError as error:
            raise StudyError(f"study {self.name!r} is not in {shown}") from error
        except (
            SQLAlchemyError,
            StorageInternalError,
            ImportError,
            RuntimeError,
            OSError,
        ) as error:
            fault = error.__cause__ if isinstance(error, StorageInternalError) else error
            cause = redact(str(fault).splitlines()[0])
            ours = url.partition(":")[0] in ("postgresql", "postgresql+psycopg")
            lacks = ours and isinstance(error, ImportError)
            fix = f". To fix: {install_command('postgresql')}" * lacks
            raise StudyError(f"cannot open the study database {shown} ({cause}){fix}") from error

    def _creation_lock(self, launch: LaunchConfig) -> contextlib.AbstractContextManager[None]:
        """Keep other studies from making the tables of a new server at once; a file is our own."""
        if launch.storage is None:
            return contextlib.nullcontext()
        return creation_lock(launch.storage, CREATION_WAIT_S)

    @contextlib.contextmanager
    def open_read_only(self, storage: str | None) -> Iterator[optuna.Study]:
        """Open the Optuna study for reading; a file that is missing is not made.

        Raises:
            StudyError: the database is missing, damaged, locked, or out of reach.
        """
        if storage is None and not self.folder.database.exists():
            raise StudyError(
                f"{self.folder.database} is missing; name the study's database by "
                "--storage if it is on a server, or restore it from a copy"
            )
        url = storage or read_only_url(self.folder.database)
        options = {"connect_args": {"timeout": LOCK_WAIT_S}} if storage is None else {}
        shown = redact(storage) if storage else str(self.folder.database)
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        opened = None
        try:
            opened = optuna.storages.RDBStorage(
                url, options, skip_compatibility_check=True, skip_table_creation=True
            )
            yield optuna.load_study(study_name=self.name, storage=opened)
        except KeyError as error:
            raise StudyError(f"study {self.name!r} is not in {shown}") from error
        except (SQLAlchemyError, OptunaError, ImportError, RuntimeError) as error:
            cause = redact(str(error.__cause__ or error).splitlines()[0])
            raise StudyError(f"cannot read the study database {shown} ({cause})") from error
        finally:
            if opened is not None:
                opened.engine.dispose()

    def _written(self) -> list[Path]:
        """Return what is there of the folders and files that every launch writes."""
        shared = [self.path.parent / ".cache", self.folder.store]
        inside = sorted(path for path in self.path.glob("*") if path.is_dir())
        found = [*shared, self.path, *inside, self.folder.database, self.folder.config]
        return [path for path in found if path.exists()]

    def _known(self) -> str:
        found = study_names(self.path.parent)
        return f"allowed: {', '.join(found)}" if found else "there are no studies yet"


def check_database(path: Path) -> None:
    """Raise StudyError unless an SQLite database exists, is intact and can be written."""
    if not path.exists():
        raise StudyError(f"the study database {path} is missing; restore it from a copy")
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=LOCK_WAIT_S)) as connection:
            (state,) = connection.execute("PRAGMA quick_check").fetchone()
            connection.execute("BEGIN IMMEDIATE")
            connection.rollback()
    except sqlite3.OperationalError as error:
        raise StudyError(
            f"the study database {path} cannot be used ({error}); close the program that holds it"
        ) from error
    except sqlite3.DatabaseError as error:
        raise StudyError(
            f"the study database {path} is damaged ({error}); restore it from a copy"
        ) from error
    if state != "ok":
        raise StudyError(f"the study database {path} is damaged ({state}); restore it from a copy")


def _name_metrics(study: optuna.Study, objectives: Sequence[str]) -> None:
    """Have Optuna's plots and its dashboard say what the values are."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.set_metric_names(list(objectives))


def config_differences(before: StudyConfig, now: StudyConfig) -> list[str]:
    """Return "key old -> new" for every key in which two studies differ."""
    return value_differences(_comparable(before), _comparable(now))


def _comparable(config: StudyConfig) -> dict[str, Any]:
    values = _fixed(config)
    space = {item["name"]: item for item in values["space"].pop("parameters")}
    values["space"] = space
    return flatten(values)


def _fixed(config: StudyConfig) -> dict[str, Any]:
    """Return as plain data what no launch may change."""
    return {key: value for key, value in config.to_dict().items() if key not in LAUNCH_KEYS}


def is_writable(directory: Path) -> bool:
    """Return whether files can be made in `directory`, or in its nearest existing parent."""
    while not directory.exists():
        directory = directory.parent
    return os.access(directory, os.W_OK | os.X_OK)
