"""The private parts of Optuna that the record uses; see also `diffrop.search.optuna_private`.

- `RDBStorage._get_prepared_new_trial` and the tables of `optuna.storages._rdb.models`: Optuna
  repeats the making of a trial after a fault by itself, and there is no public way to see, under
  the lock that it holds, whether the first attempt was stored although its answer was lost.
- `Study._storage`: Optuna's artifacts of a trial that has ended are asked of the storage alone.
- `get_storage` puts Optuna's cache around a storage, as `optuna.load_study` does by itself.

pyproject.toml bounds Optuna from above, because a later version may change them without notice.
"""

import json
from typing import Any

import optuna
from optuna.storages import BaseStorage, RDBStorage
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial

TOKEN = "diffrop:token"
"""The system attribute that tells the making of one trial from that of every other."""


class OnceStorage(RDBStorage):
    """A database in which no token makes a second trial, however often it is repeated."""

    def _get_prepared_new_trial(
        self, study_id: int, template_trial: FrozenTrial | None, session: Any
    ) -> Any:
        token = template_trial.system_attrs.get(TOKEN) if template_trial else None
        if token is not None:
            attributes = models.TrialSystemAttributeModel
            found = (
                session.query(models.TrialModel)
                .join(attributes, attributes.trial_id == models.TrialModel.trial_id)
                .filter(models.TrialModel.study_id == study_id)
                .filter(attributes.key == TOKEN, attributes.value_json == json.dumps(token))
                .first()
            )
            if found is not None:
                return found
        return super()._get_prepared_new_trial(study_id, template_trial, session)


def with_cache(storage: RDBStorage) -> BaseStorage:
    """Return a storage that reads finished trials once."""
    return optuna.storages.get_storage(storage)


def storage_of(study: optuna.Study) -> BaseStorage:
    """Return where a study's trials are kept."""
    return study._storage
