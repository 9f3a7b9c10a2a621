import shutil
import warnings
from pathlib import Path

import pytest

from diffrop.errors import DiffropError
from diffrop.record.confirmation import ConfirmationRecord
from diffrop.record.cost import CostRecord
from diffrop.record.json_files import read_record
from diffrop.record.reported import lost_scores, note_scored_again
from diffrop.record.result_reader import ResultReader, began
from diffrop.record.results import StudyResult
from diffrop.record.score_card import write_score
from diffrop.record.shared_records import restore_shared, share_record
from diffrop.record.study_store import StudyStore
from diffrop.study.config import LaunchConfig
from tests.made.damages import DAMAGES, damaged
from tests.made.faults import fault
from tests.made.finished_study import reader
from tests.made.full_study import COST
from tests.made.scores import score_card

Finished = tuple[StudyStore, StudyResult]


def _ranks(result: StudyResult) -> dict[int, tuple[int | None, float | None]]:
    return {t.number: (t.rank, t.card.value if t.card else None) for t in result.trials}


def test_damaged_score_is_named_and_costs_its_own_trial_alone(finished: Finished) -> None:
    store, result = finished
    number = 1
    path = store.folder.trial(number).score_files()[0]
    others = {n: value for n, (_, value) in _ranks(result).items() if n != number}
    study = store.open(LaunchConfig(resume=True))
    for how in DAMAGES:
        with damaged(path, how), warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            found = ResultReader(study, store.folder, result.config).read()
        ranks = _ranks(found)
        assert {n: value for n, (_, value) in ranks.items() if n != number} == others, how
        if ranks[number] != _ranks(result)[number]:
            assert ranks[number] == (None, None), how
            assert any(str(path) in str(warning.message) for warning in seen), how


def test_missing_score_of_a_complete_trial_is_named_and_no_earlier_one_ranks_it(
    finished: Finished,
) -> None:
    store, _ = finished
    trial = store.folder.trial(1)
    trial.score_files()[0].rename(trial.path / "moved")
    write_score(trial.score_path(64), score_card(1.0, 64))
    with pytest.warns(UserWarning, match="000128.json is damaged .it is missing"):
        assert _ranks(reader(store).read())[1] == (None, None)


def test_score_that_is_not_optunas_is_named_and_not_ranked(finished: Finished) -> None:
    store, _ = finished
    write_score(store.folder.trial(0).score_path(128), score_card(5.0))
    with pytest.warns(UserWarning, match=r"it says \[5.0\], and Optuna \[50.0\]"):
        assert _ranks(reader(store).read()) == {
            0: (None, None),
            1: (1, 40.0),
            2: (None, 1.0),
            3: (None, None),
        }


def test_score_that_was_made_again_counts(finished: Finished) -> None:
    store, _ = finished
    study = store.open(LaunchConfig(resume=True))
    shutil.rmtree(store.folder.trial(0).scores_path)
    assert lost_scores(study, store.folder) == {0: [128]}
    write_score(store.folder.trial(0).score_path(128), score_card(50.0 + 1e-4))
    with pytest.warns(UserWarning, match="Optuna"):
        assert reader(store).read().trials[0].rank is None
    note_scored_again(study, store.folder, {0: [128]})
    assert lost_scores(study, store.folder) == {}
    assert _ranks(reader(store).read())[0] == (2, 50.0 + 1e-4)


def test_plan_is_taken_from_the_database(finished: Finished) -> None:
    store, _ = finished
    study = store.open(LaunchConfig(resume=True))
    share_record(study, store.folder.cost, COST)
    for how in DAMAGES:
        with damaged(store.folder.cost, how), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert began(study, store.folder) == COST.began
            restore_shared(study, store.folder)
            assert read_record(store.folder.cost, CostRecord) == COST, how


@fault(30, "a confirmation cut short")
def test_damaged_confirmation_ends_a_resume_and_a_missing_one_is_restored(
    finished: Finished, full_confirmation: ConfirmationRecord
) -> None:
    store, _ = finished
    study, path = store.open(LaunchConfig(resume=True)), store.folder.confirmation
    share_record(study, path, full_confirmation)
    for how in DAMAGES:
        try:
            with damaged(path, how):
                restore_shared(study, store.folder)
                found = read_record(path, ConfirmationRecord)
        except DiffropError as error:
            assert "or remove it" in str(error) and str(path) in str(error), how
        else:
            assert found == full_confirmation, how
    path.unlink()
    restore_shared(study, store.folder)
    assert read_record(path, ConfirmationRecord) == full_confirmation


@pytest.fixture(scope="module")
def full_confirmation(tmp_path_factory: pytest.TempPathFactory) -> ConfirmationRecord:
    """What confirm.json of a study with everything holds."""
    from tests.made.full_study import TRIALS, write_full_study

    folder: Path = write_full_study(tmp_path_factory.mktemp("full") / "full", trials=TRIALS[:3])
    found = read_record(folder / "confirm.json", ConfirmationRecord)
    assert found is not None
    return found
