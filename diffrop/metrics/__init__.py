"""Scores of generated images, per shot group: usable without the rest of the package.

Every metric takes features or logits of shape (N, D), float16 to float64, on CPU or GPU;
docs/metrics.md defines each.
"""

from diffrop.metrics.classification import ClassificationScores, classification_scores
from diffrop.metrics.features import Extraction, FeatureExtractor
from diffrop.metrics.fid_infinity import FidInfinity, fid_infinity
from diffrop.metrics.frechet import GaussianStatistics, frechet_distance, gaussian_statistics
from diffrop.metrics.inception_score import InceptionScore, inception_score
from diffrop.metrics.intervals import Estimate, Interval, fid_interval, paired_interval
from diffrop.metrics.kernel import KernelDistance, kernel_distance
from diffrop.metrics.neighbours import (
    Memorisation,
    PrecisionRecall,
    memorisation,
    nearest,
    precision_recall,
)
from diffrop.metrics.prd import PrdFBeta, prd_f_beta
from diffrop.metrics.reference import Reference
from diffrop.metrics.report import Protocol, ShotReport, check_comparable, evaluate

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
