"""Whether a study can tell its trials apart."""

import pytest

from diffrop.config import TrainingConfig
from diffrop.study.learned import nothing_learned, warmup_warnings, within_warmup

NOISE = {"fid/all": 300.0, "fid/few": 320.0}


def found(values: list[list[float]], noise: dict[str, float] = NOISE) -> list[str]:
    baseline = {"fid/all": values[0][0]} if values else {}
    return nothing_learned([], values, baseline, noise, "fid/all")


@pytest.mark.parametrize(("num_images", "is_short"), [(2_048, True), (2_049, False)])
def test_training_is_all_warmup_until_it_outlasts_it(num_images: int, is_short: bool) -> None:
    assert bool(within_warmup(num_images, 2_048)) is is_short


def test_warmup_sentence_names_both_numbers() -> None:
    (sentence,) = within_warmup(2_048, 128_000)
    assert "warmup_images is 128,000 in a training of 2,048 images" in sentence


def of(*warmups: int, num_images: int = 2_000) -> list[TrainingConfig]:
    return [TrainingConfig(num_images=num_images, warmup_images=images) for images in warmups]


@pytest.mark.parametrize(("warmup", "words"), [(999, ""), (1_000, "50%"), (1_999, "99%")])
def test_warmup_is_warned_of_from_half_of_the_training_on(warmup: int, words: str) -> None:
    lines = warmup_warnings(of(warmup))
    assert len(lines) == bool(words)
    for line in lines:
        assert line.startswith(f"warning: training.warmup_images is {warmup:,} in a training of")
        assert f"{words} of it pass before its learning rate is reached. To fix: a longer" in line


def test_longest_of_several_warmups_is_told_with_what_it_means() -> None:
    assert warmup_warnings([]) == []
    (line,) = warmup_warnings(of(10, 5_000, 1_500), "No best will be named.")
    assert "is 5,000 in a training of 2,000 images: it ends before" in line
    assert "Others have shorter ones. No best will be named. To fix: " in line


def test_trials_of_one_score_are_told_and_a_single_one_is_not() -> None:
    (sentence,) = found([[37.411], [37.412], [37.4118], [37.41]])
    assert "All 4 full scores are equal (fid/all 37.41)" in sentence
    assert found([[37.41], [37.44]]) == []
    assert found([[37.41]]) == []
    assert found([]) == []


def test_trials_that_differ_in_one_objective_are_told_apart() -> None:
    assert found([[37.41, 50.0], [37.41, 51.0]]) == []


@pytest.mark.parametrize(("value", "is_noise"), [(299.9, False), (300.0, True), (310.0, True)])
def test_baseline_must_be_better_than_noise(value: float, is_noise: bool) -> None:
    sentences = found([[value], [200.0]])
    assert bool(sentences) is is_noise
    assert all("is no better than that of pure noise, 300.00" in text for text in sentences)
    assert found([[value], [200.0]], noise={}) == []
