import itertools
import math

import numpy as np
import pytest

from diffrop.constraints import check_constraints, parse_constraints, violations
from diffrop.study.objectives import Goal, front_ranks, pareto_front

KNOWN = ["fid/all", "fid/many", "fid/few"]


def scores(overall: float, few: float, many: float = 1.0) -> dict[str, float]:
    return {"fid/all": overall, "fid/few": few, "fid/many": many}


def goal(*constraints: str, objectives: tuple[str, ...] = ("fid/all",), **more: object) -> Goal:
    parsed = parse_constraints(constraints)
    return Goal(objectives, parsed, num_samples=1000, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "bound"),
    [
        ("fid/many <= 40", 40.0),
        ("fid/many<=4.5e1", 45.0),
        ("fid/many <= baseline", 20.0),
        ("fid/many <= baseline + 2.5", 22.5),
        ("  fid/many <= baseline+5%", 21.0),
    ],
)
def test_bounds_are_numbers_or_the_baselines_score_with_a_margin(text: str, bound: float) -> None:
    (constraint,) = parse_constraints([text])
    assert constraint.score == "fid/many"
    assert constraint.bound({"fid/many": 20.0}) == pytest.approx(bound)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "fid/many < 40",
        "fid/many <= best",
        "fid/many <= baseline * 2",
        "fid/many <= -3",
        "fid/many <= baseline - 1",
        "fid/many <= 5%",
        "40 >= fid/many",
    ],
)
def test_other_forms_are_refused_with_the_allowed_ones(text: str) -> None:
    with pytest.raises(ValueError, match="allowed: 'SCORE <= NUMBER', or 'SCORE <= baseline'"):
        parse_constraints([text])


def test_scores_that_do_not_exist_are_refused() -> None:
    check_constraints(["fid/few <= baseline"], KNOWN)
    with pytest.raises(ValueError, match=r"score is 'fid/medium'; allowed: fid/all, fid/many"):
        check_constraints(["fid/medium <= 4"], KNOWN)
    with pytest.raises(ValueError, match=r"score is 'kid/all'; allowed: fid/GROUP"):
        parse_constraints(["kid/all <= 4"])
    with pytest.raises(ValueError, match="more than 0"):
        parse_constraints(["fid/all <= 0"])


def test_violation_is_a_share_of_the_bound_and_zero_at_the_bound() -> None:
    constraints = parse_constraints(["fid/all <= 40", "fid/many <= baseline + 10%"])
    found = violations(scores(50, 1, many=11), {"fid/many": 10.0}, constraints)
    assert found == pytest.approx([0.25, 0.0])
    with pytest.raises(ValueError, match=r"needs the baseline's scores; allowed: scores at"):
        violations(scores(50, 1), None, constraints)


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


def points(*pairs: tuple[float, float]) -> list[dict[str, object]]:
    return [
        {
            "number": place // 2,
            "omega": float(place % 2),
            "sampler": "ddim-8",
            "num_samples": 1000,
            "scores": scores(*pair),
        }
        for place, pair in enumerate(pairs)
    ]


def test_front_holds_the_feasible_points_that_nothing_feasible_dominates() -> None:
    frame = pareto_front(
        points((1, 9), (2, 5), (3, 6), (4, 2), (0.5, 60)),
        ("fid/all", "fid/few"),
        parse_constraints(["fid/few <= baseline + 100%"]),
        scores(9, 5),
    )
    expected = ["number", "omega", "sampler", "fid/all", "fid/few", "feasible", "front"]
    assert list(frame) == expected
    assert frame["feasible"].tolist() == [True, True, True, True, False]
    assert frame["front"].tolist() == [True, True, False, True, False]
    assert frame["number"].tolist() == [0, 0, 1, 1, 2]


def test_front_is_empty_where_feasibility_cannot_be_told() -> None:
    constraints = parse_constraints(["fid/many <= baseline"])
    frame = pareto_front(points((1, 2), (2, 1)), ("fid/all", "fid/few"), constraints)
    assert frame["feasible"].isna().all() and not frame["front"].any()
    assert "fid/many" in frame
    assert pareto_front([], ("fid/all",)).empty


def test_logarithms_survive_a_score_of_zero() -> None:
    rows = [scores(0, 5), scores(0, 4)]
    assert goal(objectives=("fid/all", "fid/few")).ranking(rows, 1000) == [1, 0]
    assert math.isfinite(front_ranks(np.array([[0.0]]))[0])
