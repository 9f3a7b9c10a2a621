"""The paper's claims that can be tried here, each as a difference of two arms."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd

from benchmarks.evidence.arms import Arm, Setting
from benchmarks.evidence.compare import LEVEL, Estimate, Side, num_failed, scores_by_seed, side_of
from benchmarks.evidence.stages import (
    CBDM,
    CBDM_DIFFROP,
    COMPARED,
    CONDITIONAL,
    CONSTANT,
    DDPM,
    DDPM_SHARED,
    DIFFAUG,
    EXPONENTIAL,
    FEW,
    FREQUENT,
    HINGE,
    NEGATIVE_L2,
    RECIPROCAL,
    RESAMPLING,
    REWEIGHTING,
    SQRT_DIFFROP,
    SQRT_RESAMPLING,
    STRONG_OWN,
    STRONG_SHARED,
    X0,
)
from benchmarks.evidence.table import CLASSIFIED

LONG_TAILED, GENERATED = CLASSIFIED
Read = Callable[[str], pd.DataFrame]
"""Returns the table of a setting by its name."""
LOWER_IS_BETTER = ("fid/all", "fid/many", "fid/medium", "fid/few")


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A difference of two arms of a setting."""

    words: str
    """What is compared, for a table and a figure."""
    arm: Arm
    against: Arm = DDPM
    setting: Setting = FEW
    score: str = "fid/all"
    score_against: str = ""
    """Of `against`, where it is another score."""
    source: str = ""
    """Table or figure of the paper; "" where it claims nothing."""
    claimed: Side = "open"
    """The side on which the paper has it."""
    published: tuple[float, float] | None = None
    """The paper's own numbers of both, FIDs or per cent, if it prints any."""

    def by_seed(self, read: Read) -> pd.Series:
        """Return the difference at each seed, by the table of the setting."""
        frame, other = read(self.setting.name), self.score_against or self.score
        own = scores_by_seed(frame, self.arm, self.score)
        return (own - scores_by_seed(frame, self.against, other)).dropna()

    def estimate(self, read: Read) -> Estimate:
        """Return the difference over the seeds."""
        return Estimate.of(self.by_seed(read))

    def failed(self, read: Read) -> int:
        """Return how many trainings of both arms failed, and are left out."""
        frame = read(self.setting.name)
        return sum(num_failed(frame, key) for key in {self.arm.key, self.against.key})

    def as_published(self, read: Read) -> float | None:
        """Return the difference that would be here if it were as large as the paper's.

        That is the same share of the other's mean FID, or as many points of accuracy; None where
        the paper prints no numbers.
        """
        if self.published is None:
            return None
        own, other = self.published
        if self.score not in LOWER_IS_BETTER:
            return (own - other) / 100
        there = scores_by_seed(read(self.setting.name), self.against, self.score)
        return (own / other - 1) * float(there.mean())

    def outcome(self, found: Estimate, p_value: float, as_published: float | None = None) -> str:
        """Return in words what was found of the claim.

        Args:
            found: the difference.
            p_value: of no difference, corrected for all claims together.
            as_published: the difference if it were as large as the paper's.
        """
        if p_value > 1 - LEVEL or side_of(found) == "open":
            far = as_published is not None and (
                as_published < found.low or as_published > found.high  # NaN ends hold all
            )
            if far:
                return "no effect of the paper's size"
            return "not decidable at this scale"
        if self.claimed == "open":
            return side_of(found)
        return "reproduced in direction" if side_of(found) == self.claimed else "not reproduced"


CLAIMS: Sequence[Comparison] = (
    Comparison(
        words="DiffROP less DDPM",
        arm=EXPONENTIAL,
        source="Table 1",
        claimed="lower",
        published=(5.34, 5.76),
    ),
    Comparison(
        words="DiffROP less DDPM, few-shot classes",
        arm=EXPONENTIAL,
        score="fid/few",
        source="Table 2",
        claimed="lower",
        published=(39.23, 46.51),
    ),
    Comparison(
        words="CBDM less DDPM",
        arm=CBDM,
        source="Table 1",
        claimed="lower",
        published=(5.46, 5.76),
    ),
    Comparison(
        words="CBDM + DiffROP less CBDM",
        arm=CBDM_DIFFROP,
        against=CBDM,
        source="Table 1",
        claimed="lower",
        published=(5.35, 5.46),
    ),
    Comparison(
        words="CBDM + DiffROP less CBDM, few-shot classes",
        arm=CBDM_DIFFROP,
        against=CBDM,
        score="fid/few",
        source="Table 2",
        claimed="lower",
        published=(36.65, 47.01),
    ),
    Comparison(
        words="resampling less DDPM",
        arm=RESAMPLING,
        source="Table 1",
        claimed="higher",
        published=(10.50, 7.38),
    ),
    Comparison(
        words="square-root resampling less DDPM",
        arm=SQRT_RESAMPLING,
        source="Table 1",
        claimed="higher",
        published=(9.72, 7.38),
    ),
    Comparison(
        words="DiffAug less DDPM",
        arm=DIFFAUG,
        source="Table 1",
        claimed="higher",
        published=(9.19, 7.38),
    ),
    Comparison(
        words="accuracy with DiffROP's images less DDPM's, per cent",
        arm=EXPONENTIAL,
        score=GENERATED,
        source="Table 3",
        claimed="higher",
        published=(46.41, 44.08),
    ),
    Comparison(
        words="accuracy with CBDM + DiffROP's images less CBDM's, per cent",
        arm=CBDM_DIFFROP,
        against=CBDM,
        score=GENERATED,
        source="Table 3",
        claimed="higher",
        published=(47.22, 46.01),
    ),
    Comparison(
        words="accuracy with DDPM's images less without, per cent",
        arm=DDPM,
        score=GENERATED,
        score_against=LONG_TAILED,
        source="Table 3",
        claimed="higher",
        published=(44.08, 37.74),
    ),
    Comparison(
        words="reweighting less DDPM",
        arm=REWEIGHTING,
        source="Table 4",
        claimed="higher",
        published=(6.45, 5.76),
    ),
    Comparison(
        words="exponential form less reciprocal",
        arm=EXPONENTIAL,
        against=RECIPROCAL,
        source="Table 5",
        claimed="lower",
        published=(5.43, 5.72),
    ),
    Comparison(
        words="reciprocal form less DDPM",
        arm=RECIPROCAL,
        source="Table 5",
        claimed="lower",
        published=(5.72, 5.76),
    ),
    Comparison(
        words="negative L2 distance less DDPM",
        arm=NEGATIVE_L2,
        source="Table 5",
        claimed="higher",
        published=(11.73, 5.76),
    ),
    Comparison(
        words="tau(t) less constant tau",
        arm=EXPONENTIAL,
        against=CONSTANT,
        source="Figure 4(a)",
        claimed="lower",
    ),
)
"""In the order of the paper's tables; it prints numbers for CIFAR10LT or CIFAR100LT."""

FURTHER: Sequence[Comparison] = (
    Comparison(words="hinge less DDPM", arm=HINGE),
    Comparison(words="shared noise less own noise, DDPM", arm=DDPM_SHARED),
    Comparison(
        words="exponential 24 less DDPM, both with shared noise",
        arm=STRONG_SHARED,
        against=DDPM_SHARED,
    ),
    Comparison(words="exponential 24 with shared noise less DDPM", arm=STRONG_SHARED),
    Comparison(
        words="DiffROP less DDPM, both with square-root resampling",
        arm=SQRT_DIFFROP,
        against=SQRT_RESAMPLING,
    ),
    Comparison(words="exponential 24 less DDPM", arm=STRONG_OWN),
    Comparison(words="exponential in x0 space less DDPM", arm=X0),
    Comparison(words="rarer class of a pair alone, less DDPM", arm=FREQUENT),
    Comparison(words="conditional augmentation less DDPM", arm=CONDITIONAL),
    *(
        Comparison(
            words=f"{arm.name} less DDPM, {setting.brief}",
            arm=arm,
            against=baseline,
            setting=setting,
        )
        for setting, (baseline, *arms) in COMPARED
        for arm in arms
    ),
)
"""What the paper says nothing of."""
