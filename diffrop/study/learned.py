"""Whether a study can tell its trials apart: where nothing was learned, no best is named."""

from collections.abc import Mapping, Sequence

from diffrop.config import TrainingConfig

LONG_WARMUP = 0.5
"""Share of a training from which on its warm-up is warned of."""
EQUAL = 1e-4
"""Scores that differ by less than this share of themselves are equal: FID shows no more."""


def within_warmup(num_images: int, warmup_images: int) -> list[str]:
    """Return the sentence that a training is all warm-up; none if it is not.

    Args:
        num_images: of the training.
        warmup_images: over which its learning rate rises.
    """
    if warmup_images < num_images:
        return []
    return [
        f"training.warmup_images is {warmup_images:,} in a training of {num_images:,} images: it "
        "ends before its learning rate is reached."
    ]


def warmup_warnings(trainings: Sequence[TrainingConfig], then: str = "") -> list[str]:
    """Return a warning, with a remedy, of the longest warm-up, if it is long; else none.

    Args:
        trainings: those that are begun together.
        then: what it means for them, in a sentence.
    """
    if not trainings:
        return []
    longest = max(trainings, key=lambda training: training.warmup_images / training.num_images)
    warmup, images = longest.warmup_images, longest.num_images
    if warmup < LONG_WARMUP * images:
        return []
    found = within_warmup(images, warmup) or [
        f"training.warmup_images is {warmup:,} in a training of {images:,} images: "
        f"{100 * warmup // images}% of it pass before its learning rate is reached."
    ]
    others = "Others have shorter ones." * any(each.warmup_images < warmup for each in trainings)
    fix = "To fix: a longer training (--images), or a shorter warm-up."
    return [" ".join(filter(None, ["warning:", *found, others, then, fix]))]


def nothing_learned(
    warmup: Sequence[str],
    values: Sequence[Sequence[float]],
    baseline: Mapping[str, float],
    noise: Mapping[str, float],
    objective: str,
) -> list[str]:
    """Return in sentences why no trial of a study can be called the best; none if one can.

    Args:
        warmup: what `within_warmup` says of the study's trainings.
        values: the objectives of every trial with a full score.
        baseline: scores of the baseline by metric and group; empty if it has none.
        noise: those of pure noise, at the same N; empty if they are not known.
        objective: the first one, as in "fid/all".
    """
    found = list(warmup)
    if len(values) > 1 and all(map(_equal, zip(*values, strict=True))):
        found.append(
            f"All {len(values)} full scores are equal ({objective} {values[0][0]:.2f}): nothing "
            "that was searched made a difference."
        )
    own, of_noise = baseline.get(objective), noise.get(objective)
    if own is not None and of_noise is not None and own >= of_noise:
        found.append(
            f"The baseline's {objective}, {own:.2f}, is no better than that of pure noise, "
            f"{of_noise:.2f}."
        )
    return found


def _equal(values: Sequence[float]) -> bool:
    return max(values) - min(values) <= EQUAL * max(map(abs, values))
