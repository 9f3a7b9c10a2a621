import itertools
import math

import numpy as np
import pytest

from diffrop.constraints import parse_constraints
from diffrop.study.objectives import FrontPoint, Goal, front_ranks, pareto_front


def scores(overall: float, few: float, many: float = 1.0) -> dict[str, float]:
    return {"fid/all": overall, "fid/few": few, "fid/many": many}


def goal(*constraints: str, objectives: tuple[str, ...] = ("fid/all",), **more: object) -> Goal:
    parsed = parse_constraints(constraints)
    return Goal(objectives, parsed, num_samples=1000, **more)  # type: ignore[arg-type]


def test_least_objective_wins_among_those_that_keep_the_constraints() -> None:
    rows = [scores(1, 1, many=9), scores(3, 1, many=4), scores(2, 1, many=5)]
    limited = goal("fid/many <= baseline + 25%", baseline={1000: scores(9, 9, many=4)})
    assert goal().ranking(rows, 1000) == [0, 2, 1]
    assert limited.ranking(rows, 1000) == [2, 1, 0]


def test_least_total_violation_wins_where_none_keeps_them() -> None:
    rows = [scores(1, 8, many=8), scores(9, 5, many=8), scores(5, 7, many=6)]
    assert goal("fid/few <= 4", "fid/many <= 4").ranking(rows, 1000) == [2, 1, 0]


def test_baseline_constraints_wait_while_the_baseline_is_unknown() -> None:
    rows = [scores(1, 1, many=9), scores(2, 1, many=1)]
    assert goal("fid/many <= baseline").ranking(rows, 1000) == [0, 1]


def test_bounds_for_the_full_number_keep_their_scores_in_the_race_at_fewer() -> None:
    rows = [scores(1, 1, many=90), scores(1.1, 1, many=50), scores(1.2, 1, many=80)]
    limited = goal("fid/many <= 40")  # at this N, FIDs are larger: none would keep it
    assert limited.ranking(rows, 100) == [1, 0, 2]
    assert limited.ranking(rows, 1000)[0] == 1
    known = goal("fid/many <= baseline", baseline={1000: scores(1, 1, many=40)})
    assert known.ranking(rows, 100) == [1, 0, 2]


def test_several_objectives_rank_by_fronts_then_by_the_sum_of_logarithms() -> None:
    rows = [scores(1, 100), scores(10, 9), scores(100, 1), scores(11, 10), scores(20, 200)]
    both = goal(objectives=("fid/all", "fid/few"))
    assert both.ranking(rows, 1000) == [1, 0, 2, 3, 4]
    scaled = [{name: 1000 * value for name, value in row.items()} for row in rows]
    assert both.ranking(scaled, 1000) == both.ranking(rows, 1000)


def dominates(a: np.ndarray, b: np.ndarray) -> bool:
    return bool((a <= b).all() and (a < b).any())


@pytest.mark.parametrize("width", [1, 2, 3])
def test_front_ranks_are_those_of_peeling_fronts_by_hand(width: int) -> None:
    rng = np.random.default_rng(width)
    for count in (1, 2, 9, 40):
        values = rng.integers(0, 6, (count, width)).astype(float)  # with ties
        left, expected = list(range(count)), np.zeros(count, dtype=int)
        for rank in itertools.count():
            if not left:
                break
            front = [i for i in left if not any(dominates(values[j], values[i]) for j in left)]
            expected[front] = rank
            left = [i for i in left if i not in front]
        assert front_ranks(values).tolist() == expected.tolist()
    assert front_ranks(np.empty((0, width))).shape == (0,)


def points(*pairs: tuple[float, float]) -> list[FrontPoint]:
    return [
        FrontPoint(place // 2, float(place % 2), "ddim-8", scores(*pair))
        for place, pair in enumerate(pairs)
    ]


def test_front_holds_the_feasible_points_that_nothing_feasible_dominates() -> None:
    found = pareto_front(
        points((1, 9), (2, 5), (3, 6), (4, 2), (0.5, 60)),
        ("fid/all", "fid/few"),
        parse_constraints(("fid/few <= baseline + 100%",)),
        scores(9, 5),
    )
    assert [point.feasible for point in found] == [True, True, True, True, False]
    assert [point.front for point in found] == [True, True, False, True, False]
    assert [point.number for point in found] == [0, 0, 1, 1, 2]


def test_front_is_empty_where_feasibility_cannot_be_told() -> None:
    constraints = parse_constraints(("fid/many <= baseline",))
    found = pareto_front(points((1, 2), (2, 1)), ("fid/all", "fid/few"), constraints)
    assert all(point.feasible is None and not point.front for point in found)
    assert pareto_front([], ("fid/all",)) == []


def test_logarithms_survive_a_score_of_zero() -> None:
    rows = [scores(0, 5), scores(0, 4)]
    assert goal(objectives=("fid/all", "fid/few")).ranking(rows, 1000) == [1, 0]
    assert math.isfinite(front_ranks(np.array([[0.0]]))[0])
