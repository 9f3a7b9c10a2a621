from types import SimpleNamespace
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState
from ray.tune.schedulers import TrialScheduler

from diffrop.search.scheduler import StudyASHA
from tests.small import small_study


def trial(name: str, baseline: bool = False) -> Any:
    return SimpleNamespace(trial_id=name, config={"baseline": baseline})


def report(asha: StudyASHA, who: Any, images: int, score: float, final: bool = False) -> str:
    if who.trial_id not in asha._trial_info:
        asha.on_trial_add(None, who)  # type: ignore[arg-type]
    result = {"images_seen": images, "score": score, "final": final}
    return asha.on_trial_result(None, who, result)


def finished(number: int, score: float) -> FrozenTrial:
    made = optuna.trial.create_trial(
        state=TrialState.COMPLETE, value=score, intermediate_values={64: score}
    )
    made.number = number
    return made


def test_worse_half_is_stopped_at_the_rung_but_never_the_baseline() -> None:
    asha = StudyASHA(small_study(), [])
    assert report(asha, trial("a"), 64, 10.0) == TrialScheduler.CONTINUE
    assert report(asha, trial("b"), 64, 20.0) == TrialScheduler.STOP
    assert report(asha, trial("base", baseline=True), 64, 99.0) == TrialScheduler.CONTINUE
    assert report(asha, trial("c"), 64, 5.0) == TrialScheduler.CONTINUE


def test_finished_trial_is_not_stopped() -> None:
    asha = StudyASHA(small_study(), [])
    report(asha, trial("a"), 128, 10.0, final=True)
    assert report(asha, trial("b"), 128, 99.0, final=True) == TrialScheduler.CONTINUE


def test_failed_result_without_a_score_goes_on_to_its_end() -> None:
    asha = StudyASHA(small_study(), [])
    who = trial("a")
    asha.on_trial_add(None, who)  # type: ignore[arg-type]
    assert asha.on_trial_result(None, who, {"failure": "x"}) == TrialScheduler.CONTINUE


def test_rungs_of_earlier_launches_count() -> None:
    asha = StudyASHA(small_study(), [finished(0, 1.0), finished(1, 2.0)])
    assert report(asha, trial("a"), 64, 50.0) == TrialScheduler.STOP


def test_rungs_are_whole_batches_and_end_with_the_training() -> None:
    rungs = small_study(first_rung_images=33).rungs
    assert [(rung.images, rung.num_samples, rung.final) for rung in rungs] == [
        (64, 20, False),
        (96, 40, False),
        (128, 40, True),
    ]
    assert [rung.images for rung in small_study(scheduler="none").rungs] == [128]
