import pytest

from diffrop.constraints import check_constraints, parse_constraints, violations

KNOWN = ["fid/all", "fid/many", "fid/few"]


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
    (constraint,) = parse_constraints((text,))
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
        parse_constraints((text,))


def test_scores_that_do_not_exist_are_refused() -> None:
    check_constraints(("fid/few <= baseline",), KNOWN)
    with pytest.raises(ValueError, match=r"score is 'fid/medium'; allowed: fid/all, fid/many"):
        check_constraints(("fid/medium <= 4",), KNOWN)
    with pytest.raises(ValueError, match=r"is 'kid/all <= 4'; allowed: a score fid/GROUP"):
        parse_constraints(("kid/all <= 4",))
    with pytest.raises(ValueError, match="more than 0"):
        parse_constraints(("fid/all <= 0",))


def test_violation_is_a_share_of_the_bound_and_zero_at_the_bound() -> None:
    constraints = parse_constraints(("fid/all <= 40", "fid/many <= baseline + 10%"))
    found = violations({"fid/all": 50.0, "fid/many": 11.0}, {"fid/many": 10.0}, constraints)
    assert found == pytest.approx([0.25, 0.0])
    with pytest.raises(ValueError, match=r"needs the baseline's scores; allowed: scores at"):
        violations({"fid/all": 50.0}, None, constraints)
