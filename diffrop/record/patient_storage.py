"""A study's database that may be away for a moment: every request is repeated until it is back.

A request may have been carried out although its answer was lost. Reads, attributes, parameters
and intermediate values may be repeated as they are, because they state what is to stand there.
The making of a trial carries a token, of which the database keeps one trial; the end of a trial
that is repeated is taken as done if the trial has ended just so.
"""

import copy
import functools
import itertools
import uuid
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import optuna
import sqlalchemy
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
Method = TypeVar("Method", bound=Callable[..., Any])

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


def _patiently(method: Method) -> Method:
    """Return a method that passes its request on to the storage behind, with patience."""

    @functools.wraps(method, updated=())  # not that it is abstract
    def request(self: "PatientStorage", *arguments: Any, **named: Any) -> Any:
        of_storage = getattr(self._storage, method.__name__)
        return self._retry(lambda: of_storage(*arguments, **named))

    return cast(Method, request)


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

    delete_study = _patiently(BaseStorage.delete_study)
    set_study_user_attr = _patiently(BaseStorage.set_study_user_attr)
    set_study_system_attr = _patiently(BaseStorage.set_study_system_attr)
    get_study_id_from_name = _patiently(BaseStorage.get_study_id_from_name)
    get_study_name_from_id = _patiently(BaseStorage.get_study_name_from_id)
    get_study_directions = _patiently(BaseStorage.get_study_directions)
    get_study_user_attrs = _patiently(BaseStorage.get_study_user_attrs)
    get_study_system_attrs = _patiently(BaseStorage.get_study_system_attrs)
    get_all_studies = _patiently(BaseStorage.get_all_studies)
    set_trial_param = _patiently(BaseStorage.set_trial_param)
    set_trial_intermediate_value = _patiently(BaseStorage.set_trial_intermediate_value)
    set_trial_user_attr = _patiently(BaseStorage.set_trial_user_attr)
    set_trial_system_attr = _patiently(BaseStorage.set_trial_system_attr)
    get_trial = _patiently(BaseStorage.get_trial)
    get_all_trials = _patiently(BaseStorage.get_all_trials)
