import dataclasses
from pathlib import Path

from diffrop.analysis.data.load import StudyResults, load_study
from diffrop.analysis.report.sections import confirmation_section
from diffrop.analysis.report.summary import (
    answer,
    best_trial,
    counts_in_words,
)
from diffrop.analysis.report.trial_table import trial_rows
from tests.made.analysed_study import NINE_TRIALS, write_study
from tests.made.full_study import with_confirmation


def test_counts_are_stated_in_words(study: StudyResults) -> None:
    assert counts_in_words(study).startswith("9 trials: 6 complete, 1 pruned, 2 failed; ")


def test_loss_that_did_not_help_is_said_so(tmp_path: Path) -> None:
    study = load_study(write_study(tmp_path / "s", trials=[NINE_TRIALS[0], NINE_TRIALS[4]]))
    found = answer(study)
    assert found.headline.startswith("No contrastive loss scored better than the baseline.")
    gap = study.trials.loc[1, "value"] - study.trials.loc[0, "value"]
    assert f"{gap:.2f} higher" in found.headline and found.facts[2][1] == f"+{gap:.2f}"


def test_no_best_is_named_where_nothing_was_learned(study: StudyResults) -> None:
    assert any(row.best for row in trial_rows(study))
    complete = study.trials["state"] == "COMPLETE"
    equal = study.trials.copy()
    equal.loc[complete, ["value", "fid/all"]] = 481.2
    noisy = {"noise": {"scores": {"fid/all": 10.0}}}
    for found, reason in (
        (dataclasses.replace(study, trials=equal, reference_scores={}), "full scores are equal"),
        (dataclasses.replace(study, reference_scores=noisy), "than that of pure noise, 10.00"),
    ):
        told = answer(found)
        assert told.certainty == "Nothing was learned" and not told.is_confirmed
        assert told.headline.startswith("No best is named. ") and reason in told.headline
        assert not any(row.best for row in trial_rows(found))


def test_training_within_its_warmup_names_no_best(study: StudyResults) -> None:
    experiment = study.config["experiment"]
    training = experiment["training"] | {"warmup_images": 128_000}
    config = study.config | {"experiment": experiment | {"training": training}}
    found = answer(dataclasses.replace(study, config=config))
    assert "warmup_images is 128,000 in a training of 24,000 images" in found.headline


def test_missing_baseline_is_said_so(tmp_path: Path) -> None:
    found = answer(load_study(write_study(tmp_path / "s", trials=NINE_TRIALS[1:3])))
    assert "The baseline is not complete" in found.headline and len(found.facts) == 1


def test_confirmed_answer_states_the_gain_over_fresh_seeds(full_study: StudyResults) -> None:
    found = answer(full_study)
    assert found.is_confirmed and found.certainty == "Confirmed over 3 fresh seeds"
    assert "2.33 lower than the baseline's (95 % interval of the difference: -3.23 to -1.43)" in (
        found.headline
    )
    assert [number for _, number, _ in found.facts] == ["43.67", "46.03", "-2.33"]
    assert "start from the same weights" in found.caveat
    assert "see the Pareto front" in found.caveat


def test_leader_whose_interval_holds_0_is_no_difference(
    full_study: StudyResults,
) -> None:
    assert full_study.confirmation is not None
    leader = full_study.confirmation.leaders[1]  # -1.33 to +0.47
    found = answer(with_confirmation(full_study, leaders=(leader,), best=None))
    assert not found.is_confirmed and found.certainty == "No difference found over 3 fresh seeds"
    assert "-0.43 (-1.33 to +0.47)" in found.headline
    assert found.headline.endswith("That rules out a gain of more than 1.33.")


def test_leader_that_is_worse_is_not_better(full_study: StudyResults) -> None:
    assert full_study.confirmation is not None
    leader = dataclasses.replace(full_study.confirmation.leaders[0], mean=1.2, low=0.4, high=2.0)
    found = answer(with_confirmation(full_study, leaders=(leader,), best=None))
    assert found.certainty == "Not better over 3 fresh seeds"
    assert found.headline.startswith(
        "No leader is better than the baseline. The nearest, reciprocal form"
    )
    assert "ruled out" not in found.headline


def test_search_alone_says_that_it_is_one_seed(full_study: StudyResults) -> None:
    study = dataclasses.replace(full_study, confirmation=None)
    found = answer(study)
    assert (
        found.certainty == "One training seed, not confirmed"
        and "with fresh seeds before" in found.caveat
    )
    assert "fresh seeds; --confirm 3" in confirmation_section(study).sentences[0]


def test_best_meets_the_constraints(full_study: StudyResults) -> None:
    trials = full_study.trials.copy()
    trials.loc[trials["number"] == 1, "feasible"] = False
    best = best_trial(dataclasses.replace(full_study, trials=trials))
    assert best is not None and best["number"] == 13
    trials["feasible"] = trials["feasible"].where(trials["baseline"], False)
    study = dataclasses.replace(full_study, trials=trials, confirmation=None)
    found = answer(study)
    assert (
        found.certainty == "Constraints not met" and "fid/many <= baseline + 5%" in found.headline
    )
    assert not any(row.best for row in trial_rows(study))
