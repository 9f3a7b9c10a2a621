import dataclasses
import zlib
from collections.abc import Callable, Sequence

import pytest

from diffrop.config import SamplingConfig
from diffrop.constraints import parse_constraints
from diffrop.scoring.sampling_search import (
    LEAST_PER_CLASS,
    Estimated,
    Found,
    middle,
    neighbours,
    plan_rounds,
    samples_at_most,
    search,
)
from diffrop.study.objectives import Goal
from diffrop.study.sampling_choice import SamplingChoice, sampling_choices
from tests.made.small import small_experiment

FULL = 1000
GRID = (0.0, 0.5, 1.0, 2.0)


def choices(*omegas: float, num_steps: int = 8) -> list[SamplingChoice]:
    return [
        SamplingChoice(omega, SamplingConfig(num_steps=num_steps), num_steps) for omega in omegas
    ]


def many_choices(num_samplers: int = 3, num_intervals: int = 3) -> list[SamplingChoice]:
    """Three averages, four omegas, and so many samplers and intervals: 90 by default."""
    return sampling_choices(
        small_experiment(
            evaluation__samplers=[f"ddim-{steps}" for steps in range(2, 2 + num_samplers)],
            evaluation__guidance_scales=GRID,
            evaluation__guidance_intervals=[[k / 10, 1] for k in range(num_intervals)],
            training__ema_lengths=[0.05, 0.1],
            evaluation__ema_lengths=[None, 0.05, 0.1],
        )
    )


def arbitrary(choice: SamplingChoice, seed: int = 0) -> float:
    """A score without any order in it."""
    return float(zlib.crc32(f"{seed} {choice.omega} {choice.sampler}".encode()))


class Counted:
    """A score by formula; keeps what was drawn, and refuses what a search must not do."""

    def __init__(
        self,
        fid: Callable[[SamplingChoice, int], float],
        at_full: Callable[[SamplingChoice, int], float] | None = None,
    ) -> None:
        self.fid, self.at_full = fid, at_full or fid
        self.drawn = dict[SamplingChoice, int]()
        self.asked = dict[int, set[SamplingChoice]]()

    def __call__(self, asked: Sequence[SamplingChoice], num_samples: int) -> list[Estimated]:
        assert num_samples >= max(self.drawn.values(), default=0), "a round on fewer samples"
        if num_samples not in self.asked and self.asked:
            assert set(asked) <= self.asked[max(self.asked)], "drawn again from the beginning"
        for choice in asked:
            assert self.drawn.get(choice, 0) < num_samples, "scored twice"
            self.drawn[choice] = num_samples
            self.asked.setdefault(num_samples, set()).add(choice)
        return [
            Estimated(
                {"fid/all": self.fid(choice, num_samples)},
                {"fid/all": self.at_full(choice, num_samples)},
            )
            for choice in asked
        ]


def halved(
    score: Counted, among: Sequence[SamplingChoice], num_samples: int = FULL, **more: object
) -> Found:
    rounds = plan_rounds("halving", among, num_samples, num_classes=10)
    goal = Goal(("fid/all",), (), num_samples, **more)  # type: ignore[arg-type]
    found = search(among, rounds, goal, score)
    assert sum(score.drawn.values()) <= samples_at_most(rounds)
    return found


@pytest.mark.parametrize("num_classes", [2, 10, 100])
@pytest.mark.parametrize("num_candidates", [2, 3, 4, 5, 7, 8, 9, 16, 24, 60])
def test_halving_draws_at_most_two_fifths_of_the_grid_and_three_times_the_full_number(
    num_candidates: int, num_classes: int
) -> None:
    among = choices(*range(num_candidates))
    for per_class in (10, 13, 20, 100, 500):
        num_samples = per_class * num_classes + num_classes // 2
        rounds = plan_rounds("halving", among, num_samples, num_classes)
        counts = [current.num_samples for current in rounds]
        assert counts == sorted(set(counts)) and counts[-1] == num_samples
        assert counts[0] >= LEAST_PER_CLASS * num_classes
        assert all(count % num_classes == 0 for count in counts[:-1]), "unbalanced"
        drawn = samples_at_most(rounds)
        assert drawn <= 3 * num_samples
        if per_class >= 20:
            assert drawn <= max(0.4 * num_candidates, 1.6) * num_samples


@pytest.mark.parametrize("num_samples", [7, 20, 40, 90, 200, 1000, 50_000])
@pytest.mark.parametrize("shape", [(1, 1), (3, 3), (8, 8), (30, 9)])
def test_no_number_of_dimensions_draws_more_than_three_times_the_full_number(
    shape: tuple[int, int], num_samples: int
) -> None:
    among = many_choices(*shape)
    score = Counted(lambda choice, num: arbitrary(choice))
    rounds = plan_rounds("halving", among, num_samples, 10)
    search(among, rounds, Goal(("fid/all",), (), num_samples), score)
    # Counted again, by what each candidate was last asked for.
    assert sum(score.drawn.values()) <= samples_at_most(rounds) <= 3 * num_samples
    assert num_samples != FULL or len(score.asked[min(score.asked)]) == rounds[0].num_candidates


def test_nothing_is_searched_where_there_is_one_candidate_or_a_grid_is_asked_for() -> None:
    for method, count in (("halving", 1), ("grid", 1), ("grid", 4)):
        (only,) = plan_rounds(method, choices(*GRID[:count]), FULL, 10)  # type: ignore[arg-type]
        assert (only.num_samples, only.num_candidates) == (FULL, count)


def test_neighbours_are_what_differs_in_one_setting() -> None:
    among = many_choices()
    names = {"sampler": "num_steps", "average": "ema_length", "interval": "guidance_interval"}
    for choice in among:
        for dimension, name in names.items():
            expected = [
                each
                for each in among
                if dataclasses.replace(each.sampling, **{name: getattr(choice.sampling, name)})
                == choice.sampling
                and each.omega == choice.omega
            ]
            assert neighbours(choice, dimension, among) == expected
    whole = next(c for c in among if c.omega == 1)
    line = neighbours(whole, "omega", among)
    assert [c.omega for c in line] == [*GRID]
    assert {c.sampling for c in line} == {whole.sampling}
    none = next(c for c in among if c.omega == 0)
    assert len(neighbours(none, "omega", among)) == 1 + 3 * 3  # each interval of each omega


def test_omega_0_is_beside_every_interval() -> None:
    among = many_choices()
    narrow = next(c for c in among if c.omega == 2 and c.sampling.guidance_interval == (0.2, 1))
    assert [c.omega for c in neighbours(narrow, "omega", among)] == [*GRID]


def test_middle_has_every_dimension() -> None:
    found = middle(many_choices())
    assert (found.omega, found.sampler) == (1.0, "ddim-3-guided-0.1-1-ema-0.05")
    assert middle(choices(0.0)).omega == 0


def test_best_of_a_separable_score_is_found_wherever_it_is() -> None:
    among = many_choices()
    for best in among[::7]:
        own = best.coordinates

        def distance(choice: SamplingChoice, num: int, own: object = own) -> float:
            theirs = choice.coordinates
            return sum(theirs.get(name) != value for name, value in own.items())  # type: ignore[attr-defined]

        assert distance(halved(Counted(distance), among).best, FULL) == 0


def test_best_of_all_that_were_visited_wins() -> None:
    among = many_choices()
    for seed in range(20):
        value = {c: arbitrary(c, seed) for c in among}
        score = Counted(lambda choice, num, value=value: value[choice])  # type: ignore[misc]
        best = halved(score, among).best
        visited = score.asked[min(score.asked)]
        assert value[best] == min(value[c] for c in visited)
        assert set(neighbours(middle(among), "sampler", among)) <= visited


def test_rounds_compare_what_is_carried_to_the_full_number() -> None:
    score = Counted(
        lambda c, num: abs(c.omega - 1) - 1000 / num * c.omega,  # favours omega on few samples
        at_full=lambda c, num: abs(c.omega - 1) - c.omega / 2,
    )
    found = halved(score, choices(*GRID))
    assert found.best.omega == 1
    first = found.curve[0]
    assert first.scores["fid/all"] == 1 and first.at_full == {"fid/all": 1}
    assert all((p.at_full is None) == (p.num_samples == FULL) for p in found.curve)


def test_grid_scores_every_candidate_on_the_full_number() -> None:
    score = Counted(lambda choice, num: (choice.omega - 0.7) ** 2)
    rounds = plan_rounds("grid", choices(*GRID), FULL, 10)
    found = search(choices(*GRID), rounds, Goal(("fid/all",), (), FULL), score)
    assert found.best.omega == 0.5
    assert [point.omega for point in found.curve] == list(GRID)
    assert set(score.drawn.values()) == {FULL}


def test_halving_finds_the_least_of_the_grid_at_a_share_of_its_samples() -> None:
    for least in (0.0, 0.1, 0.3, 0.55, 0.8, 1.0, 1.4, 1.9, 3.0):
        score = Counted(lambda choice, num, least=least: abs(choice.omega - least) + 50 / num)
        found = halved(score, choices(*GRID))
        best = min(abs(omega - least) for omega in GRID)
        assert abs(found.best.omega - least) == pytest.approx(best)
        assert sum(score.drawn.values()) <= 0.4 * FULL * len(GRID)
        assert [count for count in score.drawn.values() if count == FULL] == [FULL]


def test_curve_holds_every_round_and_compares_equal_numbers_only() -> None:
    found = halved(Counted(lambda c, num: c.omega + 1 / num), choices(*GRID))
    counts = [point.num_samples for point in found.curve]
    assert counts == [120] * 4 + [360] * 2 + [FULL]
    assert {point.omega for point in found.curve if point.num_samples == 120} == {*GRID}
    chosen = [point for point in found.curve if point.omega == found.best.omega]
    assert [point.num_samples for point in chosen] == [120, 360, FULL]


def test_larger_rounds_correct_what_a_small_one_got_wrong() -> None:
    def fid(choice: SamplingChoice, num: int) -> float:
        return choice.omega if num > 120 else abs(choice.omega - 0.5)

    assert halved(Counted(fid), choices(*GRID)).best.omega < 0.5


def test_smaller_omega_of_equals_wins() -> None:
    assert halved(Counted(lambda c, num: 1.0), choices(2.0, 0.5, 0.0, 1.0)).best.omega == 0


def test_search_chooses_among_samplers_too() -> None:
    among = [*choices(*GRID), *choices(*GRID, num_steps=50)]
    score = Counted(lambda c, num: abs(c.omega - 0.9) + 8 / c.sampling.num_steps)
    found = halved(score, among)
    assert (found.best.omega, found.best.sampler) == (1.0, "ddim-50")
    assert sum(score.drawn.values()) <= 0.4 * FULL * len(among)


def test_constraints_decide_in_every_round_by_the_baseline_at_the_same_number() -> None:
    def score(asked: Sequence[SamplingChoice], num: int) -> list[Estimated]:
        shift = 1000 / num  # what the first samples of all share; another N has another
        rows = [{"fid/few": 9 - c.omega + shift, "fid/many": c.omega + shift} for c in asked]
        return [Estimated(row, row) for row in rows]

    rounds = plan_rounds("halving", choices(*GRID), FULL, 10)
    baseline = {r.num_samples: {"fid/many": 1.2 + 1000 / r.num_samples} for r in rounds}
    goal = Goal(("fid/few",), parse_constraints(("fid/many <= baseline",)), FULL, baseline)
    assert search(choices(*GRID), rounds, goal, score).best.omega == 1.0
    free = Goal(("fid/few",), (), FULL)
    assert search(choices(*GRID), rounds, free, score).best.omega == 2.0
