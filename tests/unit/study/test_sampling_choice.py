import itertools
from collections.abc import Sequence

import pytest

from diffrop.study.sampling_choice import SamplingChoice, fixed_choice, sampling_choices
from tests.made.small import small_experiment


def names(found: Sequence[SamplingChoice]) -> list[tuple[float, str]]:
    return [(choice.omega, choice.sampler) for choice in found]


def test_candidates_are_all_omegas_of_every_sampler_and_average() -> None:
    config = small_experiment(
        training__ema_lengths=[0.1],
        evaluation__guidance_scales=[1, 0],
        evaluation__samplers=["ddim-2", "ancestral"],
        evaluation__ema_lengths=[None, 0.1],
    )
    samplers = ["ddim-2", "ddim-2-ema-0.1", "ancestral-1000", "ancestral-1000-ema-0.1"]
    expected = list(itertools.product((0.0, 1.0), samplers))
    assert sorted(names(sampling_choices(config))) == sorted(expected)
    assert names(sampling_choices(small_experiment())) == [(0, "ddim-2"), (1, "ddim-2")]
    clipped = small_experiment(
        evaluation__samplers=["ddim-2", "ddim-2-unclipped", "heun-3"], sampling__clip=False
    )
    found = sampling_choices(clipped)
    assert [(c.sampler, c.sampling.clip) for c in found if c.omega == 0] == [
        ("ddim-2", True),
        ("ddim-2-unclipped", False),
        ("heun-3", True),
    ]
    assert [choice.evaluations for choice in found] == [2, 4, 2, 4, 5, 10]
    own = small_experiment(
        sampling__sampler="ancestral", training__ema_lengths=[0.1], sampling__ema_length=0.1
    )
    assert sampling_choices(own)[0].sampler == "ancestral-1000-ema-0.1"


def test_intervals_are_candidates_and_omega_0_is_not_repeated() -> None:
    config = small_experiment(
        evaluation__guidance_intervals=[[0, 1], [0.2, 0.7]],
        evaluation__guidance_scales=[0, 1, 2],
        evaluation__samplers=["ddim-3", "heun-3"],
    )
    found = sampling_choices(config)
    assert [(c.omega, c.sampler, c.evaluations) for c in found] == [
        (0, "ddim-3", 3),
        (1, "ddim-3", 6),
        (2, "ddim-3", 6),
        (1, "ddim-3-guided-0.2-0.7", 4),  # of 999, 500 and 0
        (2, "ddim-3-guided-0.2-0.7", 4),
        (0, "heun-3", 5),
        (1, "heun-3", 10),
        (2, "heun-3", 10),
        (1, "heun-3-guided-0.2-0.7", 7),  # twice in the middle
        (2, "heun-3-guided-0.2-0.7", 7),
    ]
    own = small_experiment(sampling__guidance_interval=[0.2, 0.7])
    assert names(sampling_choices(own)) == list(
        itertools.product((0, 1), ["ddim-2-guided-0.2-0.7"])
    )


def test_guides_are_candidates_that_count_two_networks() -> None:
    config = small_experiment(
        evaluation__guides=[None, 0.25],
        evaluation__guidance_scales=[0, 1],
        evaluation__guidance_intervals=[[0, 1], [0.2, 0.7]],
        evaluation__samplers=["ddim-3"],
    )
    found = sampling_choices(config)
    assert [(c.omega, c.sampler, c.evaluations) for c in found] == [
        (0, "ddim-3", 3),
        (1, "ddim-3", 6),
        (1, "ddim-3-guide-0.25", 6),
        (1, "ddim-3-guided-0.2-0.7", 4),
        (1, "ddim-3-guided-0.2-0.7-guide-0.25", 4),
    ]
    own = small_experiment(sampling__guide=0.25)
    assert names(sampling_choices(own)) == [(0, "ddim-2-guide-0.25"), (1, "ddim-2-guide-0.25")]
    fixed = fixed_choice(config, 1.0, "ddim-3-guide-0.25")
    assert names(sampling_choices(fixed)) == [(1, "ddim-3-guide-0.25")]
    assert fixed_choice(own, 1.0, "ddim-3").sampling.guide is None


@pytest.mark.parametrize("share", [0.0, 1.0, -0.5, 2.0])
def test_guide_that_is_no_share_of_the_training_is_refused(share: float) -> None:
    for key in ("sampling.guide", "evaluation.guides"):
        value = share if key == "sampling.guide" else [share]
        with pytest.raises(ValueError, match=rf"{key} is .*; allowed: a share of the training"):
            small_experiment(**{key.replace(".", "__"): value})


def test_fewer_steps_at_a_rung_stand_in_the_name_and_make_no_doubles() -> None:
    config = small_experiment(evaluation__samplers=["ddim-4", "ddim-50", "ancestral"])
    assert names(sampling_choices(config, max_evaluations=10)) == [
        (0, "ddim-4"),
        (1, "ddim-4"),
        (0, "ddim-10"),
        (1, "ddim-10"),
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"evaluation__samplers": ["ddim-1001"]}, "ddim-1001.*heun-STEPS with 1 to 1000 steps"),
        ({"evaluation__samplers": ["ddim-0"]}, "evaluation.samplers is 'ddim-0'"),
        ({"evaluation__samplers": ["euler"]}, "allowed: ancestral, or ddim-STEPS"),
        (
            {"evaluation__samplers": ["ddim-2-guided-0.2-0.7"]},
            "evaluation.samplers is 'ddim-2-guided-0.2-0.7'; .* behind it -unclipped, where",
        ),
        ({"evaluation__guidance_intervals": [[0.7, 0.2]]}, r"guidance_intervals is \(0.7, 0.2\)"),
        ({"evaluation__guidance_intervals": [[0, 1], [0, 1]]}, "allowed: distinct values"),
        ({"evaluation__guidance_intervals": [0.2, 0.7]}, r"guidance_intervals\[0\] is 0.2"),
        ({"evaluation__ema_lengths": [0.1]}, r"evaluation.ema_lengths is 0.1; allowed: .*\[\]"),
    ],
)
def test_samplers_and_averages_that_do_not_exist_are_refused(
    changes: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        sampling_choices(small_experiment(**changes))


def test_choice_is_read_from_its_name() -> None:
    kept = small_experiment(training__ema_lengths=[0.05, 0.1])
    fixed = fixed_choice(kept, 0.75, "ddim-5-ema-0.1")
    assert (fixed.sampling.sampler, fixed.sampling.num_steps) == ("ddim", 5)
    assert fixed.sampling.ema_length == 0.1
    assert fixed.evaluation.guidance_scales == (0.75,)
    several = kept.with_values({"evaluation.guidance_intervals": [[0, 0.5], [0, 1]]})
    partly = fixed_choice(several, 1.0, "heun-5-guided-0.2-0.7-ema-0.1")
    assert names(sampling_choices(partly)) == [(1, "heun-5-guided-0.2-0.7-ema-0.1")]
    assert fixed_choice(several, 1.0, "ddim-5").sampling.guidance_interval == (0, 1)
    assert fixed_choice(kept, 0.0, "ancestral-1000").sampling.sampler == "ancestral"
    with pytest.raises(ValueError, match=r"0\.2.*-ema-LENGTH, one of 0\.05, 0\.1"):
        fixed_choice(kept, 0.0, "ddim-5-ema-0.2")
