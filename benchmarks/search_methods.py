"""The ways to search that are compared, by name."""

import dataclasses

from benchmarks.engine_method import Engine, Method
from benchmarks.package_methods import OmegaChoice, Oracle, PlainOptuna, TuneOptunaSearch
from benchmarks.surrogate import FULL_SAMPLES

FORK_IMAGES = 10_240
BASE = Engine()
AS_PARAMETER = OmegaChoice(on_checkpoint=False)
ORACLE, RANDOM, ENGINE = "oracle", "random points", "this engine"
FORKS = "  with forks at 10,240 images"
METHODS: dict[str, Method] = {
    ORACLE: Oracle(),
    RANDOM: PlainOptuna(random=True),
    "random + ASHA + omega grid": Engine("grid", "asha", "random"),
    "Optuna (TPE)": PlainOptuna(),
    "Tune's OptunaSearch + ASHA": TuneOptunaSearch(),
    ENGINE: BASE,
    "  omega grid, no halving": dataclasses.replace(BASE, omega_search="grid"),
    "  no stopping": dataclasses.replace(BASE, scheduler="none"),
    "  full samples at every rung": dataclasses.replace(BASE, rung_samples=FULL_SAMPLES),
    "  random points, no TPE": dataclasses.replace(BASE, sampler="random"),
    "  BOHB for TPE": dataclasses.replace(BASE, sampler="bohb"),
    "  Hyperband for the median rule": dataclasses.replace(BASE, scheduler="hyperband"),
    "  ASHA for the median rule": dataclasses.replace(BASE, scheduler="asha"),
    "  no common random numbers": dataclasses.replace(BASE, common=False),
    "  a prior at the best point": dataclasses.replace(BASE, prior="best"),
    "  a prior at the worst point": dataclasses.replace(BASE, prior="worst"),
    FORKS: dataclasses.replace(BASE, fork_images=FORK_IMAGES),
    "omega a parameter: random points": PlainOptuna(random=True, omega=AS_PARAMETER),
    "omega a parameter: Optuna (TPE)": PlainOptuna(omega=AS_PARAMETER),
    "omega a parameter: OptunaSearch + ASHA, N = 1,000": TuneOptunaSearch(
        growing_samples=False, omega=AS_PARAMETER
    ),
    "omega a parameter: OptunaSearch + ASHA": TuneOptunaSearch(omega=AS_PARAMETER),
}
"""By name; indented ones are the engine with one feature changed. All others search omega on the
checkpoint as the engine does, so that the search is what differs, but for the last ones, which
are as the packages' users would run them."""
