from pathlib import Path

from diffrop.record.study_folder import StudyFolder, study_names


def test_folders_of_a_study_are_listed_by_number_and_seed(tmp_path: Path) -> None:
    study = StudyFolder(tmp_path / "small")
    assert study.trials() == study.retrainings() == study.prefixes() == []
    made = [study.trial(number) for number in (0, 7, 12)]
    again = [study.retraining(number, seed) for number, seed in ((3, 0), (3, 2), (3, 10), (11, 0))]
    prefix = study.prefix(5)
    for folder in (*reversed(made), *reversed(again), prefix):
        folder.path.mkdir(parents=True)
    (study.path / "trials/temporary").mkdir()
    (study.path / "confirm/t003-sx").mkdir()
    assert study.trials() == made
    assert study.retrainings() == again
    assert [(folder.number, folder.seed) for folder in again[-2:]] == [(3, 10), (11, 0)]
    assert study.prefixes() == [prefix]


def test_trainings_of_all_studies_lie_in_one_store(tmp_path: Path) -> None:
    one, two = (StudyFolder(tmp_path / name) for name in ("one", "two"))
    assert one.store == two.store == tmp_path / "checkpoints"


def test_studies_are_the_folders_that_hold_a_configuration(tmp_path: Path) -> None:
    for name in ("b", "a"):
        config = StudyFolder(tmp_path / name).config
        config.parent.mkdir()
        config.touch()
    (tmp_path / "checkpoints").mkdir()
    assert study_names(tmp_path) == ["a", "b"]
    assert study_names(tmp_path / "none") == []
