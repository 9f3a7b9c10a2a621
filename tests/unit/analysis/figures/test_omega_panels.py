from diffrop.analysis.figures.omega_panels import spaced_ticks


def test_omegas_that_are_too_near_are_not_named() -> None:
    assert spaced_ticks([0.0, 0.5, 0.75, 1.0, 2.0]) == [0.0, 0.5, 1.0, 2.0]
    assert spaced_ticks([1.0]) == [1.0]
