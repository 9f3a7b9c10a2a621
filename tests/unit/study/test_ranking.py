import itertools

import numpy as np

from diffrop.study.ranking import RankedScore, choose_leaders, sort_keys


def test_broken_constraints_come_after_kept_ones_by_how_far() -> None:
    rows = [
        RankedScore((1.0,), 0.2),
        RankedScore((9.0,)),
        RankedScore((5.0,), 0.1),
        RankedScore((8.0,)),
    ]
    assert sorted(range(4), key=sort_keys(rows).__getitem__) == [3, 1, 2, 0]
    several = [RankedScore((*row.values, 1.0), row.violation) for row in rows]
    assert sorted(range(4), key=sort_keys(several).__getitem__) == [3, 1, 2, 0]


def test_several_objectives_are_ordered_by_fronts_and_the_lonelier_first() -> None:
    rng = np.random.default_rng(1)
    rows = [RankedScore(tuple(values)) for values in rng.random((30, 2)).tolist()]
    keys = sort_keys(rows)

    def dominates(a: RankedScore, b: RankedScore) -> bool:
        return all(x <= y for x, y in zip(a.values, b.values, strict=True)) and a != b

    for i, j in itertools.permutations(range(30), 2):
        if dominates(rows[i], rows[j]):
            assert keys[i] < keys[j]
    front = [RankedScore(values) for values in [(0.0, 4.0), (1.0, 2.0), (1.1, 1.9), (4.0, 0.0)]]
    order = sorted(range(4), key=sort_keys(front).__getitem__)
    assert set(order[:2]) == {0, 3} and set(order[2:]) == {1, 2}


def test_crowding_is_that_of_a_hand_computed_front() -> None:
    front = [RankedScore(values) for values in [(0.0, 4.0), (1.0, 2.0), (2.0, 1.0), (4.0, 0.0)]]
    distances = [-key[2] for key in sort_keys(front)]
    assert distances == [np.inf, 2 / 4 + 3 / 4, 3 / 4 + 2 / 4, np.inf]


def test_leaders_of_one_objective_are_the_first_feasible_ones() -> None:
    values = {4: [30.0], 1: [10.0], 2: [20.0], 7: [15.0]}
    assert choose_leaders(values, 3) == [1, 7, 2]
    assert choose_leaders(values, 3, feasible=[2, 4]) == [2, 4, 1]
    assert choose_leaders({}, 2) == []


def test_leaders_of_two_objectives_are_the_fronts_first_and_knee() -> None:
    front = {1: [0.0, 10.0], 2: [1.0, 9.0], 3: [2.0, 2.0], 4: [10.0, 0.0]}
    behind = {5: [2.5, 2.5]}
    assert choose_leaders({**behind, **front}, 5) == [1, 3, 2, 4, 5]
