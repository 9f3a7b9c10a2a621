"""What is trained for RESULTS.md, in the order in which it is: each stage answers a question."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from benchmarks.evidence.arms import Arm, Setting, TrainingSet
from benchmarks.sampling_checkpoints import SMALL_FASHION

TAU_0 = 10.0
"""Strength of the rows that stand for the paper's, which gives none: in mu space and with a mean
over pixels, it makes the gradient of the bounded forms about a tenth of DDPM's."""
SHARED = {"diffusion.noise": "shared"}
STRONG = {"contrastive.tau_0": 24.0, "contrastive.decay_temperature": 0.36}
"""Of the one setting that looked promising in a search of 40 trials with one seed, 0, each."""
PAPER = {"contrastive.tau_0": TAU_0}

GENERATED: tuple[TrainingSet, ...] = ("with generated",)

DDPM = Arm(name="DDPM", classifiers=("long-tailed", *GENERATED))
DDPM_SHARED = Arm(name="DDPM, shared noise", values=SHARED)
STRONG_SHARED = Arm(
    name="exponential 24, shared noise", preset="diffrop", values={**STRONG, **SHARED}
)
STRONG_OWN = Arm(name="exponential 24", preset="diffrop", values=STRONG)
EXPONENTIAL = Arm(
    name="DiffROP, exponential", preset="diffrop", values=PAPER, classifiers=GENERATED
)
RECIPROCAL = Arm(name="DiffROP, reciprocal", preset="diffrop-reciprocal", values=PAPER)
HINGE = Arm(name="DiffROP, hinge", preset="diffrop-hinge", values=PAPER)
NEGATIVE_L2 = Arm(name="DiffROP, negative L2", preset="diffrop-negative-l2", values=PAPER)
CONSTANT = Arm(name="DiffROP, constant tau", preset="diffrop-constant-tau", values=PAPER)
MORE_GUIDANCE = (1.5, 2.0, 3.0)
"""CBDM draws the predictions for the labels together, so that it takes more of it."""
CBDM = Arm(name="CBDM", preset="cbdm", classifiers=GENERATED, omegas=MORE_GUIDANCE)
CBDM_DIFFROP = Arm(
    name="CBDM + DiffROP",
    preset="cbdm-diffrop",
    values=PAPER,
    classifiers=GENERATED,
    omegas=MORE_GUIDANCE,
)
REWEIGHTING = Arm(name="reweighting", preset="reweighting")
RESAMPLING = Arm(name="resampling", preset="rs")
SQRT_RESAMPLING = Arm(name="square-root resampling", preset="sqrt-rs")
DIFFAUG = Arm(name="DiffAug", preset="diffaug")
CONDITIONAL = Arm(name="conditional augmentation", preset="ada")
X0 = Arm(
    name="exponential in x0 space",
    preset="diffrop",
    values={"contrastive.space": "x0", "contrastive.tau_0": 0.3},
)
FREQUENT = Arm(
    name="DiffROP, rarer class alone",
    preset="diffrop",
    values={**PAPER, "contrastive.stop_gradient": "frequent"},
)
SQRT_DIFFROP = Arm(
    name="DiffROP, square-root resampling",
    preset="diffrop",
    values={**PAPER, "data.class_sampling": "sqrt"},
)

ELSEWHERE = tuple(
    replace(arm, classifiers=()) for arm in (DDPM, EXPONENTIAL, SQRT_RESAMPLING, CBDM)
)
"""What other settings compare: the baseline, the paper's loss, what led, and CBDM."""
LONG = (DDPM, *ELSEWHERE[1:3])
"""What long trainings compare: the baseline is that of the learning curve."""

LONG_TAIL = {"data.imbalance_factor": 0.05}
CURVE = Setting(
    name="digits_curve",
    words="digits, imbalance 0.05, 163,840 images",
    brief="163,840 images",
    dataset="digits",
    base=LONG_TAIL,
    rungs=(10_240, 20_480, 40_960, 81_920, 163_840),
    rung_samples=1_000,
)
FEW = Setting(
    name="digits_0.05",
    words="digits, imbalance 0.05",
    dataset="digits",
    base=LONG_TAIL,
    rungs=(20_480, 40_960),
    rung_samples=500,
    counts=(125, 250, 500),
)
MORE = Setting(
    name="digits_0.1",
    words="digits, imbalance 0.1",
    brief="imbalance 0.1",
    dataset="digits",
    base={"data.imbalance_factor": 0.1},
    rungs=(20_480, 40_960),
    rung_samples=500,
    counts=(125, 250, 500),
)
FASHION = Setting(
    name="fashion_0.05",
    words="fashion_mnist, imbalance 0.05",
    brief="fashion_mnist",
    dataset="fashion_mnist",
    base={**LONG_TAIL, **SMALL_FASHION, "sampling.sampler": "dpmpp", "sampling.num_steps": 8},
    rungs=(20_480, 40_960),
    rung_samples=500,
)
COMPARED = ((CURVE, LONG), (MORE, ELSEWHERE), (FASHION, ELSEWHERE))
"""Where else methods are compared than in `FEW`, and which: the baseline first."""
SETTINGS = {setting.name: setting for setting in (FEW, *(each for each, _ in COMPARED))}
"""By name."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Trainings that answer one question together."""

    name: str
    question: str
    arms: Sequence[Arm]
    setting: Setting = FEW
    seeds: Sequence[int] = range(1, 9)
    """Without 0, that of the search in which a setting was chosen."""

    def trainings(self) -> Iterator[tuple[Arm, int]]:
        """Yield arms and seeds; every arm has a seed before any has the next."""
        for seed in self.seeds:
            for arm in self.arms:
                yield arm, seed


STAGES = {
    stage.name: stage
    for stage in (
        Stage(
            name="candidate",
            question="Does the setting that looked best in a search help?",
            arms=(DDPM, DDPM_SHARED, STRONG_SHARED),
        ),
        Stage(
            name="forms",
            question="Table 5, Figure 4(a): which form, and does tau(t) matter?",
            arms=(EXPONENTIAL, RECIPROCAL, HINGE, NEGATIVE_L2, CONSTANT),
        ),
        Stage(
            name="methods",
            question="Tables 1, 2, 4: how do the other methods do?",
            arms=(
                CBDM,
                CBDM_DIFFROP,
                REWEIGHTING,
                RESAMPLING,
                SQRT_RESAMPLING,
                DIFFAUG,
            ),
        ),
        Stage(
            name="wider",
            question="What lies outside the paper's settings?",
            arms=(SQRT_DIFFROP, STRONG_OWN, X0, FREQUENT, CONDITIONAL),
        ),
        Stage(
            name="milder",
            question="Is it different with a milder long tail?",
            setting=MORE,
            arms=ELSEWHERE,
        ),
        Stage(
            name="curve",
            question="How long does the baseline learn?",
            setting=CURVE,
            arms=(DDPM,),
            seeds=range(1, 4),
        ),
        Stage(
            name="power",
            question="Would more seeds have shown that the setting helps?",
            arms=(DDPM, DDPM_SHARED, STRONG_SHARED),
            seeds=range(9, 21),
        ),
        Stage(
            name="longer",
            question="Is it different when trainings are four times as long?",
            setting=CURVE,
            arms=LONG,
            seeds=range(1, 4),
        ),
        Stage(
            name="fashion",
            question="Is it different on images of clothes?",
            setting=FASHION,
            arms=ELSEWHERE,
        ),
    )
}
"""By name, in the order in which they run."""
