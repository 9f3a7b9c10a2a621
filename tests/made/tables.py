"""Plans and results of tables without any training."""

from pathlib import Path
from typing import Any

from diffrop.baselines.classifier_config import classifier_recipe
from diffrop.config import ExperimentConfig
from diffrop.presets import apply_preset
from diffrop.recipes import recipe
from diffrop.record.score_card import CurvePoint, ScoreCard
from diffrop.samplers import sampler_name
from diffrop.tables.plan import ClassifierPlan, TablePlan, make_plan
from diffrop.tables.run import RowResult
from tests.made.scores import interval
from tests.made.small import small_experiment


def plan_of(
    number: int,
    directory: Path,
    rows: list[str] | None = None,
    start: ExperimentConfig | None = None,
    **changes: object,
) -> TablePlan:
    """A plan of `small_experiment`, or of another, with what an option would change."""
    start = start or small_experiment()

    def configure(preset: str | None) -> ExperimentConfig:
        method = start if preset is None else apply_preset(preset, start)
        return method.with_values({key.replace("__", "."): v for key, v in changes.items()})

    classifier = ClassifierPlan(
        config=classifier_recipe("digits"), num_generated=20, test_root=None
    )
    return make_plan(number, rows, configure, classifier, directory)


def published_setting(dataset: str) -> ExperimentConfig:
    """The published setting, as far as it is known."""
    changes: dict[str, Any] = {
        "training.num_images": 19_200_000,
        "training.batch_size": 64,
        "training.warmup_images": 320_000,
        "sampling.sampler": "ancestral",
        "sampling.clip": False,
        "evaluation.num_samples": 50_000,
    }
    return recipe(dataset).experiment.with_values(changes)


def card_of(config: ExperimentConfig, value: float = 5.0, **changes: Any) -> ScoreCard:
    """A final score card with every score that a table has, all of one value."""
    groups = ("all", "many", "medium", "few")
    names = ("fid", "recall", "f_8", "f_1_8", "inception_score")
    scores = {f"{name}/{group}": value for name in names for group in groups}
    own = sampler_name(config.sampling, config.diffusion.num_timesteps)
    sampler = changes.get("sampler", own)
    num_samples = config.evaluation.num_samples
    row = CurvePoint(omega=0.5, sampler=sampler, num_samples=num_samples, scores=scores)
    content: dict[str, Any] = {
        "images_seen": config.training.num_images,
        "time": 0.0,
        "objectives": ["fid/all"],
        "values": [value],
        "omega": 0.5,
        "sampler": sampler,
        "extractor": config.evaluation.extractor,
        "reference": "full training set",
        "num_samples": dict.fromkeys(groups, num_samples),
        "num_reference": dict.fromkeys(groups, 1_000),
        "final": True,
        "curve": [row],
        "intervals": {"fid/all": interval(value, 1, num_samples)},
        "class_scores": {},
        "samples_drawn": num_samples,
        "seconds": {"sampling": 1.0, "features": 1.0, "metrics": 1.0},
    }
    return ScoreCard(**(content | changes))


def results_of(plan: TablePlan, **changes: Any) -> list[RowResult]:
    """A result for every row of a plan."""
    found = []
    for row in plan.rows:
        card = card_of(plan.configs[row], **changes) if row in plan.configs else None
        scores = {"accuracy": 0.91, "precision": 0.92, "recall": 0.93}
        found.append(RowResult(row, card, scores if plan.classifier else None))
    return found
