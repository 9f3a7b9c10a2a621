"""Seeds derived from what they are for, so that no random state has to be stored or passed on."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def derive_seed(seed: int, *key: int) -> int:
    """Return a 63-bit seed that depends on `seed` and every number of `key` (all 0 or more)."""
    state = np.random.SeedSequence([seed, *key]).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))


def generator(device: "torch.device | str", seed: int, *key: int) -> "torch.Generator":
    """Return a generator on `device`, seeded by `derive_seed`."""
    import torch  # here: whoever derives seeds alone does without it

    return torch.Generator(device).manual_seed(derive_seed(seed, *key))


# First numbers of the keys, one for each use, so that no two uses share a stream.
ORDER, STEP, DROPOUT, SAMPLES, INITIAL, REFERENCE_SCORES, CLASSIFIER = range(7)
DIFFAUG, CONDITIONAL_AUGMENTATION, OTHER_LABELS, REFERENCE = range(7, 11)
SUGGESTION, AUDIT, EXPLORATION = range(11, 14)
CONFIRMED_TRAINING, CONFIRMED_SAMPLES = range(14, 16)
PRIOR = 16
