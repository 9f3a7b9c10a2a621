"""The numbers that the paper prints, by table, row, data set and score.

Yan et al., "Training Class-Imbalanced Diffusion Model Via Overlap Optimization", Tables 1 to 5.
Scores have our names: Recall is `recall`, F_8 `f_8`, F_1/8 `f_1_8`, IS `inception_score`. Sampler
and length of the training are not in the paper; they are those of the public code of CBDM (Qin et
al., 2023), whose hyperparameters it adheres to (Section 5.4).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

PUBLISHED_DATASETS = {"cifar10": "CIFAR10LT", "cifar100": "CIFAR100LT"}
"""Our name of the images, and the paper's of their long-tailed version."""
PUBLISHED_IMBALANCE_FACTOR = 0.01
PUBLISHED_NUM_SAMPLES = 50_000
PUBLISHED_SAMPLER = "ancestral-1000-unclipped"
"""The code of CBDM takes the posterior mean from the predicted clean image as it is."""
PUBLISHED_SAMPLING: Mapping[str, Any] = {"sampling.sampler": "ancestral", "sampling.clip": False}
"""The configuration's keys that make this sampler, with 1,000 timesteps."""
PUBLISHED_EXTRACTOR = "InceptionV3"
PUBLISHED_REFERENCE = "full training set"
"""The paper says "the training data"; in the code of CBDM these are the balanced images."""
PUBLISHED_STEPS = 300_000
PUBLISHED_BATCH_SIZE = 64
PUBLISHED_BATCH_SIZE_CBDM = 48

NO_SETTING = (
    "The paper prints neither sampler nor length of its trainings; those above are of the public "
    "code of CBDM."
)
NO_TAU = "The paper does not print tau_0 and the decay temperature of the DiffROP rows."
TWO_NUMBERS = (
    "On CIFAR10LT the paper prints 5.34 for +DiffROP in Tables 1 and 4, but 5.43 (exponential) "
    "and 5.72 (reciprocal) in Table 5."
)


@dataclass(frozen=True, kw_only=True)
class PublishedRow:
    """A row of a table."""

    label: str
    preset: str | None
    """The method in `diffrop.presets`; None for real images alone (Table 3)."""
    values: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """The printed values by data set as the paper names it, then by score."""


@dataclass(frozen=True, kw_only=True)
class PublishedTable:
    """A table of the paper."""

    number: int
    title: str
    scores: tuple[str, ...]
    rows: Mapping[str, PublishedRow]
    """The rows by the names that --rows takes."""
    remarks: tuple[str, ...]
    """What is missing here or there, a sentence each."""

    def rows_of(self, dataset: str) -> tuple[str, ...]:
        """Return the rows that the paper prints for a data set; all of them for others."""
        name = PUBLISHED_DATASETS.get(dataset)
        printed = tuple(row for row, content in self.rows.items() if name in content.values)
        return printed or tuple(self.rows)

    def columns(self, dataset: str) -> tuple[str, ...]:
        """Return the published data sets that stand beside our `dataset`: its own, or all."""
        printed = {name for row in self.rows.values() for name in row.values}
        known = tuple(name for name in PUBLISHED_DATASETS.values() if name in printed)
        own = PUBLISHED_DATASETS.get(dataset)
        return (own,) if own in known else known


Values = tuple[float, ...]


def _row(
    scores: tuple[str, ...],
    label: str,
    preset: str | None,
    cifar10lt: Values | None = None,
    cifar100lt: Values | None = None,
) -> PublishedRow:
    found = {"CIFAR10LT": cifar10lt, "CIFAR100LT": cifar100lt}
    values = {
        name: dict(zip(scores, row, strict=True)) for name, row in found.items() if row is not None
    }
    return PublishedRow(label=label, preset=preset, values=values)


def _table_1() -> PublishedTable:
    """Table 1, "Performance of evaluated methods on benchmarks": FID, F_8, Recall, IS, F_1/8."""
    scores = ("fid/all", "f_8/all", "recall/all", "inception_score/all", "f_1_8/all")
    rows = {
        "ddpm": _row(
            scores, "DDPM", "ddpm", (5.76, 0.97, 0.57, 9.17, 0.95), (7.38, 0.85, 0.52, 13.11, 0.88)
        ),
        "diffaug": _row(
            scores, "DDPM + DiffAug", "diffaug", None, (9.19, 0.88, 0.47, 11.56, 0.86)
        ),
        "rs": _row(scores, "DDPM + RS", "rs", None, (10.50, 0.65, 0.49, 12.60, 0.83)),
        "sqrt-rs": _row(
            scores, "DDPM + SQRT-RS", "sqrt-rs", None, (9.72, 0.66, 0.47, 13.47, 0.83)
        ),
        "diffrop": _row(
            scores,
            "DDPM + DiffROP",
            "diffrop",
            (5.34, 0.95, 0.58, 9.18, 0.97),
            (6.84, 0.89, 0.56, 12.88, 0.90),
        ),
        "cbdm": _row(
            scores, "CBDM", "cbdm", (5.46, 0.97, 0.59, 9.28, 0.95), (6.26, 0.91, 0.57, 13.24, 0.89)
        ),
        "cbdm-diffrop": _row(
            scores,
            "CBDM + DiffROP",
            "cbdm-diffrop",
            (5.35, 0.95, 0.60, 9.19, 0.97),
            (5.99, 0.89, 0.57, 13.24, 0.91),
        ),
    }
    remarks = (
        NO_TAU,
        TWO_NUMBERS,
        "Absent: CBGAN and gSR, which the paper names as baselines (Section 5.2) without a "
        "number; `diffrop gan` trains them.",
    )
    return PublishedTable(
        number=1, title="scores over all classes", scores=scores, rows=rows, remarks=remarks
    )


def _table_2() -> PublishedTable:
    """Table 2, "FID Scores for each interval on Benchmarking results": Many, Med, Few."""
    scores = ("fid/many", "fid/medium", "fid/few")
    rows = {
        "ddpm": _row(scores, "DDPM", "ddpm", (28.82, 37.01, 46.51), (23.30, 27.90, 30.43)),
        "diffrop": _row(
            scores, "DDPM + DiffROP", "diffrop", (23.51, 33.63, 39.23), (21.73, 27.50, 29.13)
        ),
        "cbdm": _row(scores, "CBDM", "cbdm", (26.18, 37.53, 47.01), (21.99, 27.40, 28.33)),
        "cbdm-diffrop": _row(
            scores, "CBDM + DiffROP", "cbdm-diffrop", (21.77, 36.00, 36.65), (21.52, 26.81, 27.10)
        ),
    }
    remarks = (
        NO_TAU,
        "Ours are against the reference images of the group's own classes.",
        "The published values (21 to 47) lie far above Table 1's over all classes (5 to 8); the "
        "paper does not say why.",
    )
    return PublishedTable(
        number=2, title="FID per shot group", scores=scores, rows=rows, remarks=remarks
    )


def _table_3() -> PublishedTable:
    """Table 3, "Recognition results(%) of different training data": held-out accuracy and means.

    The row "CIFAR100" is the balanced set; all numbers are of CIFAR-100.
    """
    scores = ("accuracy", "precision", "recall")
    rows = {
        "balanced": _row(scores, "balanced", None, None, (69.80, 69.10, 68.87)),
        "long-tailed": _row(scores, "long-tailed", None, None, (37.74, 42.12, 37.54)),
        "ddpm": _row(scores, "+ DDPM's", "ddpm", None, (44.08, 48.22, 43.58)),
        "diffrop": _row(scores, "+ DDPM + DiffROP's", "diffrop", None, (46.41, 48.22, 45.54)),
        "cbdm": _row(scores, "+ CBDM's", "cbdm", None, (46.01, 48.95, 45.46)),
        "cbdm-diffrop": _row(
            scores, "+ CBDM + DiffROP's", "cbdm-diffrop", None, (47.22, 49.13, 46.76)
        ),
    }
    remarks = (
        NO_TAU,
        "The paper does not name its classifier; ours is a ResNet-32 (He et al., 2016).",
    )
    return PublishedTable(
        number=3,
        title="classifiers with generated images",
        scores=scores,
        rows=rows,
        remarks=remarks,
    )


def _table_4() -> PublishedTable:
    """Table 4, "Performance of DiffROP and Reweighting Methods on CIFAR10LT": FID."""
    scores = ("fid/all",)
    rows = {
        "ddpm": _row(scores, "DDPM", "ddpm", (5.76,)),
        "diffrop": _row(scores, "DDPM + DiffROP", "diffrop", (5.34,)),
        "reweighting": _row(scores, "DDPM + Reweighting", "reweighting", (6.45,)),
    }
    return PublishedTable(
        number=4,
        title="DiffROP and reweighting",
        scores=scores,
        rows=rows,
        remarks=(NO_TAU, TWO_NUMBERS),
    )


def _table_5() -> PublishedTable:
    """Table 5, "Results of different loss types for L_PCL": FID."""
    scores = ("fid/all",)
    rows = {
        "ddpm": _row(scores, "DDPM", "ddpm", (5.76,), (7.38,)),
        "diffrop-negative-l2": _row(
            scores, "+ DiffROP (negative L2)", "diffrop-negative-l2", (11.73,), (12.43,)
        ),
        "diffrop": _row(scores, "+ DiffROP (exponential)", "diffrop", (5.43,), (6.84,)),
        "diffrop-reciprocal": _row(
            scores, "+ DiffROP (reciprocal)", "diffrop-reciprocal", (5.72,), (6.98,)
        ),
    }
    remarks = (
        NO_TAU,
        TWO_NUMBERS,
        "Absent: the max-margin hinge of Section 4.2 (--preset diffrop-hinge), which the table "
        "does not print.",
    )
    return PublishedTable(
        number=5, title="forms of the contrastive loss", scores=scores, rows=rows, remarks=remarks
    )


TABLES: Mapping[int, PublishedTable] = {
    table.number: table for table in (_table_1(), _table_2(), _table_3(), _table_4(), _table_5())
}
