"""The private parts of Optuna that the project uses; no other module touches any.

- `FrozenTrial._trial_id` and the constructor of `Trial`: there is no public way to go on with a
  trial that an earlier process began.
- The system attribute "NSGAIISampler:generation": there is no public way to say to which
  generation a trial of an imported history belongs.
- `get_study_id_from_name` and `create_new_trial` of a storage: `Study.add_trial` takes a trial
  in, but does not return it as one that can be reported to.

pyproject.toml bounds Optuna from above, because a later version may change them without notice.
"""

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

GENERATION_KEY = "NSGAIISampler:generation"
"""The system attribute in which Optuna's NSGA-II looks for a trial's generation."""


def open_trial(study: optuna.Study, frozen: FrozenTrial) -> optuna.Trial:
    """Return a running trial of a study, which an earlier process may have begun."""
    return optuna.Trial(study, frozen._trial_id)


def add_running_trial(
    study: optuna.Study, storage: BaseStorage, trial: FrozenTrial, generation: int
) -> optuna.Trial:
    """Add a trial with the parameters of another, still running, and return it.

    Args:
        study: to add to.
        storage: of that study.
        trial: whose parameters and distributions are taken.
        generation: of NSGA-II; other samplers do not look at it.
    """
    made = optuna.trial.create_trial(
        state=TrialState.RUNNING,
        params=trial.params,
        distributions=trial.distributions,
        system_attrs={GENERATION_KEY: generation},
    )
    study_id = storage.get_study_id_from_name(study.study_name)
    return optuna.Trial(study, storage.create_new_trial(study_id, made))


def ask_in_generation(study: optuna.Study, generation: int) -> optuna.Trial:
    """Return a new trial of a study, in a generation of NSGA-II."""
    waiting = optuna.trial.create_trial(
        state=TrialState.WAITING, system_attrs={GENERATION_KEY: generation}
    )
    study.add_trial(waiting)
    return study.ask()
