"""What the scores of a table depend on, here and in the paper, in words."""

from collections.abc import Sequence
from dataclasses import dataclass

from diffrop.data.held_out import SplitDataset
from diffrop.record.score_card import ScoreCard
from diffrop.tables.plan import TablePlan
from diffrop.tables.published import (
    PUBLISHED_BATCH_SIZE,
    PUBLISHED_BATCH_SIZE_CBDM,
    PUBLISHED_DATASETS,
    PUBLISHED_EXTRACTOR,
    PUBLISHED_IMBALANCE_FACTOR,
    PUBLISHED_NUM_SAMPLES,
    PUBLISHED_REFERENCE,
    PUBLISHED_SAMPLER,
    PUBLISHED_STEPS,
)

EXTRACTOR_WORDS = {"inception-v3-compat": PUBLISHED_EXTRACTOR}


@dataclass(frozen=True)
class ProtocolLine:
    """One thing that scores depend on, here and in the paper."""

    name: str
    ours: str
    published: str
    decisive: bool = True
    """Scores compare only where this is equal."""

    @property
    def differs(self) -> bool:
        """Whether this alone keeps the scores from being compared."""
        return self.decisive and self.ours != self.published


def protocol_lines(
    plan: TablePlan, cards: Sequence[ScoreCard], split: SplitDataset | None
) -> list[ProtocolLine]:
    """Say what the scores depend on; `cards` have one protocol."""
    columns = " and ".join(plan.table.columns(plan.data.dataset))
    ours = PUBLISHED_DATASETS.get(plan.data.dataset, plan.data.dataset)
    factor = plan.data.imbalance_factor
    lines = [
        ProtocolLine("dataset", ours, columns),
        ProtocolLine(
            "imbalance factor",
            "own" if factor is None else f"{factor:g}",
            f"{PUBLISHED_IMBALANCE_FACTOR:g}",
        ),
    ]
    if cards:
        lines += _model_lines(plan, cards)
    if split is not None and plan.classifier is not None:
        seen = plan.classifier.config.num_images
        count = len(split.test.labels)
        lines += [
            ProtocolLine(
                "generated images",
                f"{plan.classifier.num_generated:,}",
                f"{PUBLISHED_NUM_SAMPLES:,}",
            ),
            ProtocolLine("classifier", f"ResNet-32, {seen:,} images seen", "not in the paper"),
            ProtocolLine("held-out images", f"{count:,}", "not in the paper"),
        ]
    return lines


def _model_lines(plan: TablePlan, cards: Sequence[ScoreCard]) -> list[ProtocolLine]:
    card, config = cards[0], next(iter(plan.configs.values()))
    batch = config.training.batch_size
    cbdm = any(row.startswith("cbdm") for row in plan.rows)
    length = f"{PUBLISHED_STEPS:,} steps of {PUBLISHED_BATCH_SIZE}"
    length += f", CBDM rows of {PUBLISHED_BATCH_SIZE_CBDM}" if cbdm else ""
    count, asked = f"{card.num_samples['all']:,}", f"{PUBLISHED_NUM_SAMPLES:,}"
    if plan.table.number == 2:
        count = f"{card.num_samples.get('few', 0):,} per shot group, {count} in all"
        asked = "10,000 (whether of each group or of all is not in the paper)"
    seen = f"{card.images_seen // batch:,} steps of {batch}"
    seen += ", from a checkpoint" if config.training.init_from else ""
    grid = ", ".join(f"{omega:g}" for omega in config.evaluation.guidance_scales)
    halved = config.evaluation.omega_search == "halving" and len(card.curve) > 1
    grid += " and between" if halved else ""
    lines = [
        ProtocolLine("images seen", seen, length),
        ProtocolLine("sampler", card.protocol.sampler, PUBLISHED_SAMPLER),
        ProtocolLine(
            "omega", f"best of {grid} by {card.objective}", "tuned for each model", decisive=False
        ),
    ]
    if plan.classifier is not None:  # omega was chosen by a FID that is not in this table
        return lines
    extractor = EXTRACTOR_WORDS.get(card.extractor, card.extractor)
    return [
        *lines,
        ProtocolLine("N (samples)", count, asked),
        ProtocolLine("extractor", extractor, PUBLISHED_EXTRACTOR),
        ProtocolLine("reference", card.reference, PUBLISHED_REFERENCE),
    ]
