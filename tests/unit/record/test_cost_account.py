import itertools
from pathlib import Path

import pytest

from diffrop.record.cost_account import CostAccount, unit_hours
from diffrop.record.study_folder import StudyFolder
from tests.made.costly_study import BASE, FORK, segment, timed_card, write_costly_study
from tests.made.stored_study import store_training, store_trial


@pytest.fixture
def study(tmp_path: Path) -> StudyFolder:
    return write_costly_study(tmp_path)


def account(study: StudyFolder, *numbers: int, since: float = 0.0) -> CostAccount:
    """The account of some trials, added in this order."""
    found = CostAccount(study, since)
    for number in numbers:
        found.add(study.trial(number), "trial")
    return found


def test_shared_training_is_counted_once(study: StudyFolder) -> None:
    assert account(study, 1).hours == pytest.approx(2 * (36 + 72 + 7.2) / 3600)
    twice = account(study, 1, 1, 2)
    assert twice.hours == pytest.approx(2 * (36 + 72 + 14.4) / 3600)
    twice.add(study.trial(0), "trial")
    assert twice.hours == pytest.approx(2 * (36 + 360 + 72 + 25.2) / 3600)


def test_sum_is_the_same_in_any_order(study: StudyFolder) -> None:
    whole = 2 * (36 + 360 + 72 + 25.2) / 3600
    for order in itertools.permutations(range(3)):
        assert account(study, *order).hours == pytest.approx(whole)


def test_training_of_an_earlier_study_is_free(study: StudyFolder) -> None:
    later = account(study, 1, since=100.0)  # the first segment ended at 64
    assert later.hours == pytest.approx(2 * (72 + 7.2) / 3600)


def test_segment_that_another_study_trained_is_free(study: StudyFolder) -> None:
    store = study.store
    segments = [segment(0, 64, 10.0, study="other"), segment(64, 128, 20.0, study="small")]
    store_training(store, "shared", segments=segments)
    store_trial(study.trial(3), store, "shared")
    assert account(study, 3).hours == pytest.approx(2 * 20 / 3600)


def test_segment_that_was_lost_and_trained_again_was_paid_for(study: StudyFolder) -> None:
    store = study.store
    segments = [segment(0, 64, 10.0), segment(0, 64, 11.0, time=65.0)]
    store_training(store, "lost", segments=segments)
    store_trial(study.trial(3), store, "lost")  # it failed before its first score
    assert account(study, 3).hours == pytest.approx(2 * 21 / 3600)


def test_folder_that_is_added_again_is_read_anew(study: StudyFolder) -> None:
    found = account(study, 1)
    before = found.hours
    store_trial(study.trial(1), study.store, FORK, [timed_card(64, 3.6)])
    found.add(study.trial(1), "trial")
    assert found.hours == pytest.approx(before + 2 * 3.6 / 3600)


def test_what_trials_fork_from_is_counted_up_to_the_fork(study: StudyFolder) -> None:
    store_trial(study.prefix(0), study.store, BASE)
    found = CostAccount.of(study, 0.0, fork_images=64)
    seconds = {
        kind: sum(e.seconds for e in found.entries() if (e.kind, e.part) == (kind, "training"))
        for kind in ("prefix", "trial", "retraining")
    }
    # The baseline goes on with what the others fork from.
    assert seconds == {"prefix": 36.0, "trial": 360.0 + 72.0, "retraining": 108.0}


def test_every_entry_says_what_it_is_of(study: StudyFolder) -> None:
    found = CostAccount.of(study, 0.0)
    (training, sampling, features, metrics) = found.of_folder(study.retraining(1, 0))
    assert (training.kind, training.number, training.seed) == ("retraining", 1, 0)
    assert (training.images, training.images_seen, training.time) == (128, 128, 128.0)
    assert (sampling.samples, features.samples, metrics.samples) == (10, 0, 0)
    assert (sampling.time, sampling.units, sampling.unit_s) == (1128.0, 2, 14.4)


def test_graphics_cards_count_in_place_of_workers(study: StudyFolder) -> None:
    store_training(study.store, "gpu", segments=[segment(0, 64, 100.0, gpus=0.5)])
    store_trial(study.trial(3), study.store, "gpu", [timed_card(64, 10.0)])
    assert account(study, 3).hours == pytest.approx(0.5 * 110 / 3600)


def test_account_is_the_sum_over_all_that_the_folders_say(study: StudyFolder) -> None:
    found = CostAccount.of(study, 0.0)
    folders = [*study.trials(), *study.retrainings()]
    segments = {
        (key, part)
        for folder in folders
        for key, part in folder.training(study.store).all_segments()
    }
    seconds = sum(part.seconds * part.workers for _, part in segments)
    seconds += sum(2 * sum(card.seconds.values()) for f in folders for card in f.scores())
    assert unit_hours(found.entries()) == found.hours == pytest.approx(seconds / 3600)
