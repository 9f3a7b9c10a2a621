import json
from pathlib import Path

import pytest

from diffrop.metrics.interval import Interval
from diffrop.record.codec import encode
from diffrop.record.score_card import CurvePoint, ScoreCard, read_score, write_score
from tests.made.scores import score_card


def searched() -> ScoreCard:
    """A card whose choice was scored on 10 and on 40 samples, another one on 10 alone."""
    curve = [
        CurvePoint(
            omega=omega,
            sampler="ddim-2",
            num_samples=count,
            scores={"fid/all": value},
            evaluations=2 if omega == 0 else 4,
        )
        for omega, count, value in ((0.0, 10, 90.0), (1.0, 10, 80.0), (1.0, 40, 50.0))
    ]
    return score_card(50.0, curve=curve, half_width=3, asked={"choices": [[0.0, "ddim-2"]]})


def test_card_survives_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "scores" / "images_000000000128.json"
    path.parent.mkdir()
    write_score(path, searched())
    found = read_score(path)
    assert found == searched()
    assert isinstance(found.curve[0], CurvePoint)
    assert isinstance(found.intervals["fid/all"], Interval)


def test_scores_are_those_of_the_choice_on_the_full_number() -> None:
    card = searched()
    assert card.scores == {"fid/all": 50.0}
    assert card.scores_by_num_samples == {10: {"fid/all": 80.0}, 40: {"fid/all": 50.0}}
    assert card.points == [card.curve[2]]
    assert card.evaluations == 4


def test_card_of_before_evaluations_were_counted_is_read(tmp_path: Path) -> None:
    stored = encode(searched())
    for point in stored["curve"]:
        del point["evaluations"]
    path = tmp_path / "images_000000000128.json"
    path.write_text(json.dumps(stored))
    assert read_score(path).evaluations is None


@pytest.mark.parametrize("missing", ["objectives", "curve", "seconds"])
def test_card_of_another_version_is_refused_in_one_sentence(tmp_path: Path, missing: str) -> None:
    stored = encode(searched())
    del stored[missing]
    path = tmp_path / "images_000000000128.json"
    path.write_text(json.dumps(stored))
    with pytest.raises(ValueError, match=rf"no complete score file .*no key '{missing}'") as found:
        read_score(path)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize("text", ['{"images_seen": 12', "[]", ""])
def test_torn_score_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "images_000000000128.json"
    path.write_text(text)
    with pytest.raises(ValueError, match="cannot read") as found:
        read_score(path)
    assert str(found.value).count(path.name) == 1


def test_card_without_a_point_of_its_choice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "images_000000000128.json"
    write_score(path, score_card(50.0, curve=[]))
    with pytest.raises(ValueError, match="is no complete score file"):
        read_score(path)
