"""What a user is told of a data set before anything is trained on it."""

from diffrop.data import Dataset
from diffrop.metrics.reference import fitted_groups
from diffrop.shot_groups import SHOT_GROUPS

MOST_CLASSES_NAMED = 20
MOST_CLASSES_OF_A_GROUP = 8


def data_lines(dataset: Dataset) -> list[str]:
    """Return the images of each class, the shot groups that have a score, and what was left out.

    With more than 20 classes the most frequent and the rarest ones stand for all.
    """
    train, groups = dataset.train, dataset.shot_groups
    counts = train.class_counts
    order = sorted(range(len(counts)), key=lambda label: (-counts[label], label))
    texts = [f"{train.class_names[label]} ({counts[label]:,})" for label in order]
    if len(texts) > MOST_CLASSES_NAMED:
        texts = [*texts[:3], "...", *texts[-3:]]
    lines = [
        f"Data: {dataset.name}, {sum(counts):,} images in {len(counts)} classes "
        f"({max(counts):,} ... {min(counts):,}); reference {len(dataset.reference.labels):,} "
        "images.",
        f"Images of each class: {', '.join(texts)}.",
        f"Shot groups: {_groups_text(dataset)}.",
    ]
    scored = fitted_groups(dataset.reference.labels, groups)
    unscored = [group for group in groups if group not in scored]
    if unscored:
        lines.append(f"Not scored, with fewer than two reference images: {', '.join(unscored)}.")
    return [*lines, *dict.fromkeys([*train.notes, *dataset.reference.notes])]


def _groups_text(dataset: Dataset) -> str:
    groups, names = dataset.shot_groups, dataset.train.class_names
    if not groups:
        return "none, of a single class"
    texts = []
    for group, labels in groups.items():
        named = ", ".join(names[label] for label in labels)
        few = len(labels) <= MOST_CLASSES_OF_A_GROUP
        texts.append(f"{group} ({named})" if few else f"{group} ({len(labels)} classes)")
    missing = [group for group in SHOT_GROUPS if group not in groups]
    none = f"; there is no {' and no '.join(missing)}" if missing else ""
    return f"{', '.join(texts)}{none}"
