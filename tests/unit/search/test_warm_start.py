import dataclasses
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from diffrop.record.json_files import read_json
from diffrop.record.study_folder import StudyFolder
from diffrop.record.study_store import StudyStore
from diffrop.search.searcher import OptunaStudySearcher
from diffrop.search.warm_start import gather, recall, remember, write_notes
from diffrop.study.config import LaunchConfig, StudyConfig
from tests.made.small import small_experiment, small_study


def run_earlier(
    root: Path, config: StudyConfig, fingerprints: dict[str, str] | None = None, **result: float
) -> optuna.Study:
    """Run a study of instant trials in its folder; every third is stopped."""
    store = StudyStore(root, config.name)
    study = store.create(config, "test", LaunchConfig(runs_root=str(root)), fingerprints or {})
    remember(study, gather(config, root))
    found = OptunaStudySearcher(study, config)
    for i in range(config.num_trials):
        found.suggest(str(i))
        row = {"images_seen": 64, "score": float(i), "final": False, **result}
        found.on_trial_result(str(i), row)
        if i % 3 < 2:
            row |= {"images_seen": 128, "final": True}
        else:
            found.stop(str(i), 64)
        found.on_trial_complete(str(i), row)
    return study


def new(**changes: Any) -> StudyConfig:
    return small_study("new", **({"warm_start": ("old",), "num_trials": 10} | changes))


def test_trials_of_an_equal_study_are_known_after_a_restart_too(tmp_path: Path) -> None:
    earlier = run_earlier(tmp_path, small_study("old", num_trials=7))
    found = gather(new(), tmp_path)
    assert found.notes == ("6 of 6 trials of 'old' are known to the sampler",)
    write_notes(StudyFolder(tmp_path), found)
    assert read_json(tmp_path / "warm_start.json") == {"notes": list(found.notes)}
    study = optuna.create_study()
    remember(study, found)
    (known,) = recall(study, new().space)
    assert [trial.params for trial in known.trials] == [t.params for t in earlier.trials[1:]]
    assert [trial.values for trial in known.trials] == [
        t.values if t.state == TrialState.COMPLETE else None for t in earlier.trials[1:]
    ]
    assert known.baseline[128].values == (0.0,)
    for _ in range(2):  # the mirror begins with them, whoever opens the study
        mirror = OptunaStudySearcher(study, new())._planner._view._study
        assert len(mirror.trials) == 6


def test_trials_outside_the_space_are_named(tmp_path: Path) -> None:
    earlier = run_earlier(tmp_path, small_study("old", num_trials=10))
    space = new().space
    form, tau_0, *others = space.parameters
    narrow = dataclasses.replace(tau_0, low=1.0, high=10.0)
    fewer = dataclasses.replace(form, choices=("hinge", "reciprocal"))
    config = dataclasses.replace(
        new(), space=dataclasses.replace(space, parameters=(fewer, narrow, *others))
    )
    inside = [
        trial
        for trial in earlier.trials[1:]
        if trial.params["contrastive.form"] in ("hinge", "reciprocal")
        and 1 <= trial.params["contrastive.tau_0"] <= 10
    ]
    found = gather(config, tmp_path)
    (note,) = found.notes
    assert note.startswith(f"{len(inside)} of 9 trials of 'old' are known")
    assert "contrastive.form is none of hinge, reciprocal (" in note
    assert len(found.studies[0]["trials"]) == len(inside)


def test_parameter_that_was_fixed_there_is_taken_from_its_configuration(tmp_path: Path) -> None:
    space = new().space
    rest = tuple(p for p in space.parameters if p.name != "contrastive.tau_0")
    old = small_study("old", num_trials=4)
    run_earlier(
        tmp_path, dataclasses.replace(old, space=dataclasses.replace(space, parameters=rest))
    )
    found = gather(new(), tmp_path)
    fixed = old.experiment.contrastive.tau_0
    assert [t["params"]["contrastive.tau_0"] for t in found.studies[0]["trials"]] == [fixed] * 3


def test_other_protocols_do_not_match(tmp_path: Path) -> None:
    run_earlier(tmp_path, small_study("old", num_trials=3))
    reasons: dict[str, dict[str, Any]] = {
        "evaluation.num_samples is 40 there and 60 here": {"evaluation__num_samples": 60},
        "sampling.num_steps is 2 there and 4 here": {"sampling__num_steps": 4},
        "evaluation.objectives is": {"evaluation__objectives": ("fid/few",)},
        "data.imbalance_factor is 0.1 there and 0.5": {"data__imbalance_factor": 0.5},
        "training.num_images is 128 there and 256 here": {"training__num_images": 256},
    }
    for reason, changes in reasons.items():
        config = dataclasses.replace(new(), experiment=small_experiment(**changes))
        (note,) = gather(config, tmp_path).notes
        assert note.startswith("0 of 2 trials of 'old'") and reason in note


def test_seeds_may_differ_and_facts_and_forks_may_not(tmp_path: Path) -> None:
    run_earlier(tmp_path, small_study("old", num_trials=3), fingerprints={"images": "abc"})
    config = dataclasses.replace(new(), experiment=small_experiment(training__seed=9))
    assert "2 of 2" in gather(config, tmp_path, {"images": "abc"}).notes[0]
    assert (
        "images is abc there and xyz here (2)"
        in gather(config, tmp_path, {"images": "xyz"}).notes[0]
    )
    forked = dataclasses.replace(new(), fork_from="baseline@64")
    assert "fork_from is None there and baseline@64 here (2)" in gather(forked, tmp_path).notes[0]


def test_stopped_trials_need_a_rung_that_both_studies_have(tmp_path: Path) -> None:
    run_earlier(tmp_path, small_study("old", num_trials=4))
    (note,) = gather(new(rung_samples=30), tmp_path).notes
    assert note.startswith("2 of 3") and "stopped at a rung that this study has not (1)" in note


def test_constraints_are_judged_by_the_baseline_of_their_own_study(tmp_path: Path) -> None:
    constraint = "fid/many <= baseline + 5%"
    experiment = small_experiment(evaluation__constraints=(constraint,))
    old = dataclasses.replace(small_study("old", num_trials=3), experiment=experiment)
    run_earlier(tmp_path, old, **{"fid/many": 8.0})
    config = dataclasses.replace(new(), experiment=experiment)
    study = optuna.create_study()
    remember(study, gather(config, tmp_path))
    mirror = OptunaStudySearcher(study, config)._planner._view._study
    assert mirror.trials[0].constraints == {constraint: pytest.approx(1 / 1.05 - 1)}


def test_missing_and_damaged_studies_are_named_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"warm_start 'old': .* holds no study\.yaml; allowed"):
        gather(new(), tmp_path)
    run_earlier(tmp_path, small_study("old", num_trials=2))
    database = tmp_path / "old" / "study.db"
    content = database.read_bytes()
    database.write_bytes(b"no database" * 100)
    with pytest.raises(ValueError, match="warm_start 'old': cannot read the study database"):
        gather(new(), tmp_path)
    database.unlink()
    with pytest.raises(ValueError, match=r"is missing; .*allowed: studies of"):
        gather(new(), tmp_path)
    assert not database.exists()
    database.write_bytes(content)
    database.chmod(0o444)
    assert gather(new(), tmp_path).notes
    assert database.read_bytes() == content
