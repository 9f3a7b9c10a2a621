"""Images in memory, made long-tailed, in shot groups, and in batches."""

from diffrop.data.datasets import DATASETS, Dataset, load_dataset
from diffrop.data.labelled_images import LabelledImages
from diffrop.data.long_tail import long_tailed_counts, shot_groups

__all__ = [
    "DATASETS",
    "Dataset",
    "LabelledImages",
    "load_dataset",
    "long_tailed_counts",
    "shot_groups",
]
