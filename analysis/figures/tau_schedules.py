"""Figure: tau(t) constant or decaying over the timesteps (the paper's Figure 4a)."""

import dataclasses
from typing import get_args

from matplotlib.figure import Figure

from diffrop.analysis.data.compare import comparable_trials, contrastive_trials
from diffrop.analysis.data.load import StudyResults
from diffrop.analysis.figures import style
from diffrop.analysis.figures.ablation import ablation_figure
from diffrop.config import TauSchedule

READING = (
    "Each row is one way in which tau(t) falls over the timesteps: not at all (constant), "
    "exponentially (the paper's), linearly or as a cosine; markers are those of the figure of "
    "the forms. "
    "The baseline has no contrastive loss (the paper's Vanilla); the exponential row is its TS."
)
KEY = "contrastive.tau_schedule"


def applies(study: StudyResults) -> bool:
    """Return whether there are schedules to compare."""
    return num_schedules(study) > 1 and not contrastive_trials(study).empty


def tau_schedules_figure(study: StudyResults) -> Figure:
    """Draw the objective of every schedule's trials.

    A study that did not search the schedule has one row, that of its base experiment.
    """
    study = with_schedules(study)
    contrastive = study.trials[study.trials["form"] != "none"]
    choices = [name for name in get_args(TauSchedule) if name in set(contrastive[KEY])]
    if comparable_trials(study).empty or not choices:
        return style.sentence_figure(
            study, "No complete trial has a contrastive loss yet, so no schedules of tau compare."
        )
    return ablation_figure(study, KEY, choices, lambda name: f"{name} tau")


def with_schedules(study: StudyResults) -> StudyResults:
    """Return the study with a column of schedules, also where they were not searched."""
    base = str(study.setting(KEY) or "")
    trials = study.trials
    found = trials[KEY].replace("", base).fillna(base) if KEY in trials else base
    return dataclasses.replace(study, trials=trials.assign(**{KEY: found}))


def num_schedules(study: StudyResults) -> int:
    """Return how many schedules the contrastive trials have."""
    trials = with_schedules(study).trials
    return int(trials.loc[trials["form"] != "none", KEY].nunique())
