"""What Optuna's study says of each score, and which score files are lost or say something else."""

import math
from collections.abc import Mapping, Sequence

import optuna
from optuna.trial import FrozenTrial

from diffrop.record.score_card import ScoreCard
from diffrop.record.study_folder import StudyFolder
from diffrop.record.trial_state import rung_scores

SCORED_AGAIN = "scored_again"
"""An attribute of Optuna's study: objectives by trial and images, for checkpoints whose scores
were lost and made again. Another machine rounds otherwise, and a trial that has ended is fixed."""
ROUNDING = 1e-9
"""Of a number that went through a database or a text."""


def reported_values(study: optuna.Study, trial: FrozenTrial) -> dict[int, tuple[float, ...]]:
    """Return a trial's objectives as Optuna's study has them, by images seen."""
    found = {images: score.values for images, score in rung_scores(trial).items()}
    again = study.user_attrs.get(SCORED_AGAIN, {}).get(str(trial.number), {})
    return found | {int(images): tuple(values) for images, values in again.items()}


def agrees(card: ScoreCard, values: Sequence[float]) -> bool:
    """Return whether a score file says what Optuna's study says."""
    pairs = zip(card.values, values, strict=False)
    same_length = len(card.values) == len(values)
    return same_length and all(math.isclose(a, b, rel_tol=ROUNDING) for a, b in pairs)


def lost_scores(study: optuna.Study, folder: StudyFolder) -> dict[int, list[int]]:
    """Return at which images the scores of trials that ended are missing, damaged or not Optuna's.

    A trial that has not ended scores what it misses by itself, once it goes on.
    """
    lost: dict[int, list[int]] = {}
    for trial in study.get_trials(deepcopy=False):
        if not trial.state.is_finished():
            continue
        scores = folder.trial(trial.number)
        for images, values in sorted(reported_values(study, trial).items()):
            card = scores.score(images)
            if card is None or not agrees(card, values):
                lost.setdefault(trial.number, []).append(images)
    return lost


def note_scored_again(
    study: optuna.Study, folder: StudyFolder, numbers: Mapping[int, Sequence[int]]
) -> None:
    """Let the scores that were made again be those that count.

    Args:
        study: Optuna's.
        folder: of the study.
        numbers: the images of each trial that was scored again.
    """
    known = dict(study.user_attrs.get(SCORED_AGAIN, {}))
    for number, images in numbers.items():
        cards = [folder.trial(number).score(at) for at in images]
        found = {str(card.images_seen): card.values for card in cards if card is not None}
        known[str(number)] = known.get(str(number), {}) | found
    study.set_user_attr(SCORED_AGAIN, known)
