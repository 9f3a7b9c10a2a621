"""Scores of generated images, per shot group: usable without the rest of the package.

Every metric takes features or logits of shape (N, D), float16 to float64, on CPU or GPU;
docs/metrics.md defines each. A name's module is imported when the name is first asked for, so that
`Interval` and `Protocol` cost no import of torch.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from diffrop.metrics.classification import ClassificationScores, classification_scores
    from diffrop.metrics.features import Extraction, FeatureExtractor
    from diffrop.metrics.fid_at_infinity import FidInfinity, fid_infinity
    from diffrop.metrics.frechet import GaussianStatistics, frechet_distance, gaussian_statistics
    from diffrop.metrics.inception import InceptionScore, inception_score
    from diffrop.metrics.interval import Interval
    from diffrop.metrics.intervals import Estimate, fid_interval, paired_interval
    from diffrop.metrics.kernel import KernelDistance, kernel_distance
    from diffrop.metrics.neighbours import (
        Memorisation,
        PrecisionRecall,
        memorisation,
        nearest,
        precision_recall,
    )
    from diffrop.metrics.prd import PrdFBeta, prd_f_beta
    from diffrop.metrics.protocol import Protocol, check_comparable
    from diffrop.metrics.reference import Reference
    from diffrop.metrics.report import ShotReport, evaluate

__all__ = [
    "ClassificationScores",
    "Estimate",
    "Extraction",
    "FeatureExtractor",
    "FidInfinity",
    "GaussianStatistics",
    "InceptionScore",
    "Interval",
    "KernelDistance",
    "Memorisation",
    "PrdFBeta",
    "PrecisionRecall",
    "Protocol",
    "Reference",
    "ShotReport",
    "check_comparable",
    "classification_scores",
    "evaluate",
    "fid_infinity",
    "fid_interval",
    "frechet_distance",
    "gaussian_statistics",
    "inception_score",
    "kernel_distance",
    "memorisation",
    "nearest",
    "paired_interval",
    "prd_f_beta",
    "precision_recall",
]

NAMES_OF_MODULE = {
    "classification": ("ClassificationScores", "classification_scores"),
    "features": ("Extraction", "FeatureExtractor"),
    "fid_at_infinity": ("FidInfinity", "fid_infinity"),
    "frechet": ("GaussianStatistics", "frechet_distance", "gaussian_statistics"),
    "inception": ("InceptionScore", "inception_score"),
    "interval": ("Interval",),
    "intervals": ("Estimate", "fid_interval", "paired_interval"),
    "kernel": ("KernelDistance", "kernel_distance"),
    "neighbours": (
        "Memorisation",
        "PrecisionRecall",
        "memorisation",
        "nearest",
        "precision_recall",
    ),
    "prd": ("PrdFBeta", "prd_f_beta"),
    "protocol": ("Protocol", "check_comparable"),
    "reference": ("Reference",),
    "report": ("ShotReport", "evaluate"),
}
"""No module has the name of something public: once imported, it would hide it."""
MODULE_OF_NAME = {name: module for module, names in NAMES_OF_MODULE.items() for name in names}


def __getattr__(name: str) -> object:
    """Import something public from its module."""
    if name not in MODULE_OF_NAME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{MODULE_OF_NAME[name]}"), name)
