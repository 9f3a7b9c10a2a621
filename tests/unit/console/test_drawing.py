from pathlib import Path

import pytest

from diffrop.console.drawing import drawing_of
from diffrop.record.score_card import write_score
from diffrop.record.trial_folder import TrialFolder
from tests.made.scores import score_card


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    folder = TrialFolder(tmp_path / "runs/s/trials/t002")
    path = folder.training_link / "images_000000000128.safetensors"
    path.parent.mkdir(parents=True)
    path.touch()
    write_score(folder.score_path(128), score_card(9.0, omega=0.5, sampler="dpmpp-3-guide-0.25"))
    return path


def test_a_checkpoint_is_drawn_as_it_was_scored(checkpoint: Path) -> None:
    how = drawing_of(checkpoint, None, None)
    assert (how.omega, how.sampler) == (0.5, "dpmpp-3-guide-0.25")
    assert how.words == (
        "Drawn with omega 0.5 and dpmpp-3-guide-0.25, as the checkpoint was scored."
    )


def test_what_was_asked_for_stays(checkpoint: Path) -> None:
    how = drawing_of(checkpoint, 0.0, None)
    assert (how.omega, how.sampler) == (0.0, "dpmpp-3-guide-0.25")
    assert "omega" not in how.words
    how = drawing_of(checkpoint, None, "ddim-7")
    assert (how.omega, how.sampler) == (0.5, "ddim-7")
    assert how.words.endswith("which was chosen for dpmpp-3-guide-0.25.")
    how = drawing_of(checkpoint, 2.0, "ddim-7")
    assert (how.omega, how.sampler, how.words) == (2.0, "ddim-7", "")


def test_a_checkpoint_without_a_score_has_no_guidance(checkpoint: Path, tmp_path: Path) -> None:
    other = checkpoint.with_name("images_000000000064.safetensors")
    for path in (other, tmp_path / "copied.safetensors", tmp_path / checkpoint.name):
        how = drawing_of(path, None, None)
        assert (how.omega, how.sampler) == (0.0, None)
        assert how.words == f"Drawn with omega 0: there is no score beside {path}."
        assert drawing_of(path, 1.0, None).words == ""


def test_a_damaged_score_is_named(checkpoint: Path) -> None:
    TrialFolder(checkpoint.parents[1]).score_path(128).write_text("{")
    with pytest.warns(UserWarning, match="cannot read"):
        assert drawing_of(checkpoint, None, None).omega == 0.0
