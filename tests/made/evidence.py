"""Tables of the evidence whose differences are known."""

import functools
from collections.abc import Mapping

import numpy as np
import pandas as pd

from benchmarks.evidence.arms import CLASSIFIED_AT, Arm
from benchmarks.evidence.stages import SETTINGS, STAGES, Stage
from benchmarks.evidence.table import COLUMNS, FIDS

SEED_SD, DRAW_SD = 14.0, 2.0
"""Spread of a training, and of a difference of two that share their draws."""


def made_frame(setting: str, effects: Mapping[str, float]) -> pd.DataFrame:
    """Return the table of a setting: each arm's scores are a seed's level plus its effect."""
    stages = [stage for stage in STAGES.values() if stage.setting.name == setting]
    rng = np.random.default_rng(0)
    rows: dict[tuple[str, int], list[dict[str, object]]] = {}
    for stage in stages:
        for arm, seed in stage.trainings():
            if (arm.key, seed) not in rows:
                rows[arm.key, seed] = _rows(stage, arm, seed, effects.get(arm.name, 0.0), rng)
    return pd.DataFrame([row for own in rows.values() for row in own], columns=list(COLUMNS))


@functools.cache
def digest_of(setting: str, key: str) -> str:
    """The digest of an arm of a setting, each worked out once."""
    return SETTINGS[setting].digest(Arm.of_key(key))


def _rows(
    stage: Stage, arm: Arm, seed: int, effect: float, rng: np.random.Generator
) -> list[dict[str, object]]:
    setting, found = stage.setting, []
    level = 60 + SEED_SD * np.random.default_rng(seed).normal()
    own, digest = DRAW_SD * rng.normal(), digest_of(setting.name, arm.key)
    for images in setting.rungs:
        last = images == max(setting.rungs)
        full = setting.num_samples if last else setting.rung_samples
        for omega in setting.omegas_of(arm):
            for count in (*(setting.counts if last else ()), full):
                score = level + effect + own + 20 * abs(omega - 0.5)
                score += 200_000 / images + 2_000 / count
                row: dict[str, object] = dict.fromkeys(FIDS, score)
                row |= {f"{name} low": score - 5 for name in FIDS}
                row |= {f"{name} high": score + 5 for name in FIDS}
                row |= {"arm": arm.name, "settings": arm.key, "seed": seed, "images": images}
                row |= {"digest": digest}
                row |= {"omega": omega, "num_samples": count, "grad_ratio": 0.02}
                row |= {"accuracy/few": 0.9, "memorisation/few": 0.4, "training_s": 60.0}
                row |= {"scoring_s": 3.0}
                if last and omega == CLASSIFIED_AT:
                    row |= {f"classifier {name}": 0.8 - effect / 1000 for name in arm.classifiers}
                found.append(row)
    return found
