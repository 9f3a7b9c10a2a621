"""A study's database that may be away for a moment: every request is repeated until it is back.

A request may have been carried out although its answer was lost. Reads, attributes, parameters
and intermediate values may be repeated as they are, because they state what is to stand there.
The making of a trial carries a token, of which the database keeps one trial; the end of a trial
that is repeated is taken as done if the trial has ended just so.
"""

import copy
import itertools
import uuid
from collections.abc import Callable, Container, Sequence
from typing import Any, TypeVar

import optuna
import sqlalchemy
from optuna.distributions import BaseDistribution
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import exc

from diffrop.errors import StudyError
from diffrop.patience import Patience
from diffrop.record.optuna_private import TOKEN, OnceStorage, with_cache
from diffrop.redaction import redact

Found = TypeVar("Found")

OUTAGES = (
    exc.OperationalError,
    exc.InterfaceError,
    exc.InternalError,
    exc.TimeoutError,
    exc.PendingRollbackError,
)
"""Faults of a database that may pass: locked, full, gone, shutting down or starting."""
BUSY_S = 1
"""SQLite waits so long for a lock by itself; signals are answered after that."""
CONNECT_S, ANSWER_S = 10, 30
"""So long a server may take to be reached, and to acknowledge what it was sent."""


def open_patiently(url: str, patience: Patience) -> "PatientStorage":
    """Open a database, whose later faults are waited for; one at this moment is raised.

    Raises:
        SQLAlchemyError, StorageInternalError, ImportError, RuntimeError: it cannot be opened.
    """
    parsed = sqlalchemy.make_url(url)
    arguments: dict[str, int] = {}
    if parsed.get_backend_name() == "sqlite":
        arguments = {"timeout": BUSY_S}
    elif parsed.get_driver_name() in ("psycopg", "psycopg2"):
        arguments = {"connect_timeout": CONNECT_S, "tcp_user_timeout": ANSWER_S * 1000}
        arguments |= {"keepalives_idle": CONNECT_S, "keepalives_interval": CONNECT_S}
    kept = {name: value for name, value in arguments.items() if name not in parsed.query}
    database = OnceStorage(url, {"connect_args": kept, "pool_pre_ping": True})
    return PatientStorage(with_cache(database), redact(url), patience)


class PatientStorage(BaseStorage):
    """Passes everything on to another storage, with patience."""

    def __init__(self, storage: BaseStorage, shown: str, patience: Patience) -> None:
        """Use a storage, which is named `shown` in messages."""
        self._storage, self._shown, self._patience = storage, shown, patience

    def _outage(self, error: Exception) -> str | None:
        fault = error.__cause__ if isinstance(error, StorageInternalError) else error
        if not isinstance(fault, OUTAGES):
            return None
        reason = redact(str(getattr(fault, "orig", None) or fault).strip().splitlines()[0])
        return f"the study database {self._shown} cannot be used ({reason})"

    def _retry(self, action: Callable[[], Found]) -> Found:
        """Repeat an action while the database is away.

        Raises:
            OutageError: it was away for too long.
            StudyError: it is damaged, or somebody changed its tables.
        """
        try:
            return self._patience.retry(action, self._outage)
        except (StorageInternalError, exc.SQLAlchemyError) as error:
            reason = redact(str(error.__cause__ or error).splitlines()[0])
            raise StudyError(
                f"the study database {self._shown} cannot be used ({reason}); restore it from a "
                "copy, and go on with --resume"
            ) from error

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Create a trial once, even if the answer to the first request is lost."""
        made = template_trial or optuna.trial.create_trial(state=TrialState.RUNNING)
        made = copy.copy(made)
        made.system_attrs = {**made.system_attrs, TOKEN: uuid.uuid4().hex}
        self.get_study_user_attrs(study_id)  # Optuna's own attempts take long: only if it answers
        return self._retry(lambda: self._storage.create_new_trial(study_id, made))

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """End a trial once; a repeated request finds it ended."""
        attempts = itertools.count()

        def end() -> bool:
            repeated = next(attempts) > 0
            try:
                return self._storage.set_trial_state_values(trial_id, state, values)
            except UpdateFinishedTrialError:
                if not repeated:
                    raise
                there = self._storage.get_trial(trial_id)
                wanted = None if values is None else list(values)
                if (there.state, there.values) != (state, wanted):
                    raise
                return True

        return self._retry(end)

    def create_new_study(
        self, directions: Sequence[StudyDirection], study_name: str | None = None
    ) -> int:
        """Create a study, without patience: it is the first request of all."""
        return self._storage.create_new_study(directions, study_name)

    def delete_study(self, study_id: int) -> None:
        """Delete a study."""
        self._retry(lambda: self._storage.delete_study(study_id))

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        """Set an attribute of a study."""
        self._retry(lambda: self._storage.set_study_user_attr(study_id, key, value))

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        """Set an attribute of Optuna's own of a study."""
        self._retry(lambda: self._storage.set_study_system_attr(study_id, key, value))

    def get_study_id_from_name(self, study_name: str) -> int:
        """Return a study's number in the database."""
        return self._retry(lambda: self._storage.get_study_id_from_name(study_name))

    def get_study_name_from_id(self, study_id: int) -> str:
        """Return a study's name."""
        return self._retry(lambda: self._storage.get_study_name_from_id(study_id))

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        """Return whether each objective is minimised."""
        return self._retry(lambda: self._storage.get_study_directions(study_id))

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        """Return the attributes of a study."""
        return self._retry(lambda: self._storage.get_study_user_attrs(study_id))

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        """Return Optuna's own attributes of a study."""
        return self._retry(lambda: self._storage.get_study_system_attrs(study_id))

    def get_all_studies(self) -> Any:
        """Return all studies of the database."""
        return self._retry(self._storage.get_all_studies)

    def set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
    ) -> None:
        """Set a parameter of a trial; one that is there stays."""
        self._retry(
            lambda: self._storage.set_trial_param(
                trial_id, param_name, param_value_internal, distribution
            )
        )

    def set_trial_intermediate_value(
        self, trial_id: int, step: int, intermediate_value: float
    ) -> None:
        """Set the value of a trial at a step."""
        self._retry(
            lambda: self._storage.set_trial_intermediate_value(trial_id, step, intermediate_value)
        )

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Set an attribute of a trial."""
        self._retry(lambda: self._storage.set_trial_user_attr(trial_id, key, value))

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Set an attribute of Optuna's own of a trial."""
        self._retry(lambda: self._storage.set_trial_system_attr(trial_id, key, value))

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """Return a trial."""
        return self._retry(lambda: self._storage.get_trial(trial_id))

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        """Return the trials of a study by number."""
        return self._retry(lambda: self._storage.get_all_trials(study_id, deepcopy, states))
