"""What a study's search can do, through the real engine on one cluster."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import optuna
import pandas as pd
import pytest
import torch

from diffrop.checkpoint_file import read_checkpoint
from diffrop.engine.run import FinishedStudy
from diffrop.record.confirmation import ConfirmationRecord
from diffrop.record.cost import CostRecord
from diffrop.record.json_files import read_record
from diffrop.record.rung_agreement import AgreementRecord
from diffrop.record.study_folder import StudyFolder
from diffrop.record.trial_folder import TrialFolder
from diffrop.study.config import StudyConfig
from diffrop.training.network import load_ema, load_guide
from diffrop.training.store import CheckpointStore
from tests.made.ray_head import ray_head
from tests.made.small import small_study
from tests.made.studies import launch_in, run_small, states

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with ray_head(tmp_path_factory.mktemp("head"), num_cpus=2) as found:
        yield found


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder above the runs folder, which all studies of this module share."""
    return tmp_path_factory.mktemp("studies")


def changed(config: StudyConfig, **evaluation: object) -> StudyConfig:
    """A study with other keys of `evaluation`."""
    values = {f"evaluation.{key}": value for key, value in evaluation.items()}
    return dataclasses.replace(config, experiment=config.experiment.with_values(values))


@pytest.fixture(scope="module")
def forked(address: str, runs: Path) -> FinishedStudy:
    """Every trial forks from the baseline at 32 images; one leader is confirmed on two seeds.

    All are drawn with an earlier checkpoint of their own as guide.
    """
    config = changed(
        small_study("forked", fork_from="baseline@32", scheduler="none"),
        objectives=["fid/few"],
        constraints=["fid/many <= baseline + 500%"],
        guides=[0.5],
        guidance_scales=[1.0],
    )
    launch = launch_in(runs, ray_address=address, confirm=1, confirm_seeds=2, keep_trials=1)
    return run_small(config, launch)


def test_what_lies_before_a_fork_is_trained_once(forked: FinishedStudy) -> None:
    assert states(forked) == ["COMPLETE"] * 3
    store = CheckpointStore(forked.directory.parent / "checkpoints")
    trials = forked.result.trials
    for trial in trials[1:]:
        folder = store.folder(trial.training_key)
        assert folder.identity().parent == f"{trials[0].training_key}-32"
        assert min(part.begin for part in folder.record.segments()) == 32
    own = store.folder(trials[0].training_key).record.segments()
    assert sum(part.end - part.begin for part in own) == 128


def test_confirmation_trains_fresh_seeds_and_concludes(forked: FinishedStudy) -> None:
    found = read_record(StudyFolder(forked.directory).confirmation, ConfirmationRecord)
    assert found is not None and forked.result.confirmation == found
    (leader,) = found.leaders
    assert len(leader.by_seed) == len(found.baseline.values) == 2
    assert leader.mean is not None and leader.low is not None and leader.high is not None
    assert leader.low < leader.mean < leader.high
    assert found.conditional_on_prefix is False and found.conclusion
    assert forked.result.best is not None
    assert forked.result.best.number == (found.best or 0)


def test_retrainings_are_drawn_with_guides_of_their_own(forked: FinishedStudy) -> None:
    retrainings = StudyFolder(forked.directory).retrainings()
    assert len(retrainings) == 4
    for folder in retrainings:
        (*_, card) = folder.scores()
        assert card.final and card.sampler.endswith("-guide-0.5") and card.omega == 1
    best = forked.result.best
    assert best is not None and best.card is not None
    checkpoint = read_checkpoint(TrialFolder(best.directory).scored_checkpoint(128))
    guide = load_guide(checkpoint, torch.device("cpu"), 0.5)
    own = CheckpointStore(forked.directory.parent / "checkpoints").folder(best.training_key)
    weaker = load_ema(read_checkpoint(own.path_of(64)), torch.device("cpu"))
    assert guide is not None
    for ours, theirs in zip(guide.parameters(), weaker.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_weights_of_all_but_the_leader_and_the_baseline_are_gone(forked: FinishedStudy) -> None:
    store = CheckpointStore(forked.directory.parent / "checkpoints")
    ranked = [trial for trial in forked.result.ranked if trial.number > 0]
    best = forked.result.best
    assert best is not None
    kept = {0, ranked[0].number, best.number}
    for trial in forked.result.trials:
        assert bool(store.folder(trial.training_key).files()) == (trial.number in kept)
        assert (trial.directory / "scores").exists()


def test_constraint_is_in_the_table_and_in_the_database(forked: FinishedStudy) -> None:
    frame = pd.read_csv(forked.directory / "trials.csv")
    assert frame["feasible"].astype(bool).all()
    study = optuna.load_study(
        study_name="forked", storage=f"sqlite:///{forked.directory}/study.db"
    )
    (excess,) = study.trials[1].constraints.values()
    assert excess < 0


def test_plan_is_compared_with_the_actual_cost(forked: FinishedStudy) -> None:
    cost = read_record(StudyFolder(forked.directory).cost, CostRecord)
    assert cost is not None and cost.plan is not None and cost.actual is not None
    assert cost.plan.images == cost.actual.images == 32 + 3 * 96 + 2 * (32 + 2 * 96)


def test_front_of_two_objectives_has_every_sampling_choice(address: str, runs: Path) -> None:
    config = changed(
        small_study("front", sampler="nsga2", scheduler="none"),
        objectives=["fid/all", "fid/few"],
        omega_search="grid",
    )
    finished = run_small(config, launch_in(runs, ray_address=address))
    front = pd.read_csv(finished.directory / "front.csv")
    assert len(front) == 3 * 2  # trials, omegas
    points = front[["fid/all", "fid/few"]].to_numpy()
    for i, point in enumerate(points):
        beaten = ((points <= point).all(1) & (points < point).any(1)).any()
        assert bool(front["front"][i]) == (not beaten)


def test_population_goes_on_from_a_leaders_checkpoint(address: str, runs: Path) -> None:
    config = small_study("population", scheduler="pbt", num_trials=6)
    finished = run_small(config, launch_in(runs, ray_address=address, max_concurrent=1))
    children = [trial for trial in finished.result.trials if trial.parent]
    assert children, states(finished)
    store = CheckpointStore(finished.directory.parent / "checkpoints")
    for child in children:
        number, images = child.parent[1:].split("@")
        leader = finished.result.trials[int(number)]
        parent = store.folder(child.training_key).identity().parent
        assert parent == f"{leader.training_key}-{images}"


def test_later_study_learns_from_an_earlier_one_and_trains_nothing_again(
    address: str, runs: Path
) -> None:
    first = run_small(small_study("first"), launch_in(runs, ray_address=address))
    point = first.result.trials[1].values
    second = small_study("second", num_trials=2, warm_start=("first",), points=(point,))
    finished = run_small(second, launch_in(runs, ray_address=address))
    storage = f"sqlite:///{finished.directory}/study.db"
    study = optuna.load_study(study_name="second", storage=storage)
    assert "first" in " ".join(study.user_attrs["warm_start_notes"])
    assert finished.result.trials[1].training_key == first.result.trials[1].training_key
    store = CheckpointStore(finished.directory.parent / "checkpoints")
    for trial in finished.result.trials:
        segments = store.folder(trial.training_key).record.segments()
        assert sum(part.end - part.begin for part in segments) <= 128
    record = read_record(StudyFolder(finished.directory).rung_agreement, AgreementRecord)
    assert record is not None and record.conclusion
