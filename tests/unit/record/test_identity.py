import multiprocessing
from pathlib import Path

import pytest

from diffrop.record.identity import identity_of
from diffrop.record.study_folder import StudyFolder


def folder(path: Path) -> StudyFolder:
    path.mkdir(parents=True)
    return StudyFolder(path)


def test_identity_is_random_and_stays(tmp_path: Path) -> None:
    first, second = folder(tmp_path / "a" / "study"), folder(tmp_path / "b" / "study")
    tokens = [identity_of(study) for study in (first, second, first)]
    assert tokens[0] == tokens[2] != tokens[1]
    assert [path.name for path in first.path.iterdir()] == ["identity.json"]


def test_processes_that_make_it_at_once_agree(tmp_path: Path) -> None:
    studies = [folder(tmp_path / str(number)) for number in range(20)]
    with multiprocessing.get_context("fork").Pool(4) as pool:
        found = pool.map(identity_of, [study for study in studies for _ in range(4)], chunksize=1)
    assert [found[4 * i : 4 * i + 4] for i in range(20)] == [
        [identity_of(study)] * 4 for study in studies
    ]
    assert len(set(found)) == 20


@pytest.mark.parametrize("content", ["", "null", "[]", '{"token": 3}', "{}", "\0\xff"])
def test_damaged_identity_is_named_set_aside_and_made_again(tmp_path: Path, content: str) -> None:
    study = folder(tmp_path / "study")
    before = identity_of(study)
    study.identity.write_text(content)
    with pytest.warns(UserWarning, match=r"cannot read .*identity\.json.* set aside"):
        after = identity_of(study)
    assert after not in (before, "") and identity_of(study) == after
    assert (study.path / "identity.json.damaged").read_text() == content
