"""Whether a study can tell its trials apart: where nothing was learned, no best is named."""

from collections.abc import Mapping, Sequence

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
