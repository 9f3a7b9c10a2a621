from collections.abc import Callable, Sequence

import pytest

from diffrop.config import SamplingConfig
from diffrop.constraints import Scores, parse_constraints
from diffrop.scoring.sampling_search import (
    LEAST_PER_CLASS,
    Found,
    plan_rounds,
    samples_at_most,
    search,
)
from diffrop.study.objectives import Goal
from diffrop.study.sampling_choice import SamplingChoice

FULL = 1000
GRID = (0.0, 0.5, 1.0, 2.0)


def choices(*omegas: float, num_steps: int = 8) -> list[SamplingChoice]:
    return [
        SamplingChoice(omega, SamplingConfig(num_steps=num_steps), num_steps) for omega in omegas
    ]


class Counted:
    """A score by formula; keeps what was drawn, and refuses what a search must not do."""

    def __init__(self, fid: Callable[[SamplingChoice, int], float]) -> None:
        self.fid, self.drawn = fid, dict[SamplingChoice, int]()

    def __call__(self, asked: Sequence[SamplingChoice], num_samples: int) -> list[Scores]:
        assert num_samples >= max(self.drawn.values(), default=0), "a round on fewer samples"
        for choice in asked:
            assert self.drawn.get(choice, 0) < num_samples, "scored twice"
            self.drawn[choice] = num_samples
        return [{"fid/all": self.fid(choice, num_samples)} for choice in asked]


def halved(
    score: Counted, among: Sequence[SamplingChoice], num_samples: int = FULL, **more: object
) -> Found:
    rounds = plan_rounds("halving", len(among), num_samples, num_classes=10)
    goal = Goal(("fid/all",), (), num_samples, **more)  # type: ignore[arg-type]
    return search(among, rounds, goal, score)


@pytest.mark.parametrize("num_classes", [2, 10, 100])
@pytest.mark.parametrize("num_candidates", [2, 3, 4, 5, 7, 8, 9, 16, 24, 60])
def test_halving_draws_at_most_two_fifths_of_the_grid(
    num_candidates: int, num_classes: int
) -> None:
    for per_class in (10, 13, 20, 100, 500):
        num_samples = per_class * num_classes + num_classes // 2
        rounds = plan_rounds("halving", num_candidates, num_samples, num_classes)
        counts = [current.num_samples for current in rounds]
        assert counts == sorted(set(counts)) and counts[-1] == num_samples
        assert counts[0] >= LEAST_PER_CLASS * num_classes
        assert all(count % num_classes == 0 for count in counts[:-1]), "unbalanced"
        drawn = samples_at_most(rounds, num_candidates)
        grid = num_candidates * num_samples
        assert drawn <= (0.4 * grid if num_candidates >= 4 else grid)


def test_nothing_is_searched_where_there_is_one_candidate_or_a_grid_is_asked_for() -> None:
    for method, count in (("halving", 1), ("grid", 1), ("grid", 4)):
        (only,) = plan_rounds(method, count, FULL, 10)  # type: ignore[arg-type]
        assert only.num_samples == FULL
    (few,) = plan_rounds("halving", 4, 90, 10)
    assert few.num_samples == 90


def test_grid_scores_every_candidate_on_the_full_number() -> None:
    score = Counted(lambda choice, num: (choice.omega - 0.7) ** 2)
    rounds = plan_rounds("grid", 4, FULL, 10)
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
    def score(asked: Sequence[SamplingChoice], num: int) -> list[Scores]:
        shift = 1000 / num  # FIDs grow as N falls: bounds at another N would refuse everything
        return [{"fid/few": 9 - c.omega + shift, "fid/many": c.omega + shift} for c in asked]

    rounds = plan_rounds("halving", 4, FULL, 10)
    baseline = {r.num_samples: {"fid/many": 1.2 + 1000 / r.num_samples} for r in rounds}
    goal = Goal(("fid/few",), parse_constraints(("fid/many <= baseline",)), FULL, baseline)
    assert search(choices(*GRID), rounds, goal, score).best.omega == 1.0
    free = Goal(("fid/few",), (), FULL)
    assert search(choices(*GRID), rounds, free, score).best.omega == 2.0
