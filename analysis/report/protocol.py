"""How a study trained and scored its trials, in words for the report."""

from typing import Any

import pandas as pd

from diffrop.analysis.data.classes import classes_frame
from diffrop.analysis.data.compare import num_incomparable
from diffrop.analysis.data.load import StudyResults
from diffrop.analysis.data.words import format_count
from diffrop.analysis.figures.style import caption
from diffrop.schema import flatten
from diffrop.shot_groups import GROUPS

MAX_CLASSES = 20
"""More classes than these show the counts of the first and the last three."""


def protocol_rows(study: StudyResults) -> list[tuple[str, str]]:
    """Return name and value of what determines the scores; what is not known is left out."""
    provenance = study.best.get("provenance") or {}
    factor = study.setting("data.imbalance_factor")
    counts = classes_frame(study)["images"].tolist()
    scales = study.setting("evaluation.guidance_scales") or []
    seen = study.trials.loc[study.trials["state"] == "COMPLETE", "images_seen"].dropna()
    images = format_count(study.setting("training.num_images"))
    if len(seen) and int(seen.max()) != study.setting("training.num_images"):
        images += f" planned, {format_count(seen.max())} seen"
    scored_by = caption(study, scores=[study.objective, *(f"fid/{group}" for group in GROUPS)])
    rows = [
        ("Method", f"{method_text(study)}; trials add the contrastive loss"),
        ("Dataset", study.setting("data.dataset")),
        ("Imbalance factor", "the data's own counts" if factor is None else f"{factor:g}"),
        ("Training images per class", _counts_text(counts)),
        ("Training images per trial", images),
        ("Scored by", scored_by.split("; ")[0]),
        ("Complete without a comparable score", num_incomparable(study) or ""),
        ("Omega", f"best of {', '.join(f'{scale:g}' for scale in scales)} by the objective"),
        ("Reference", _reference(study)),
        ("Seeds", _seeds(study)),
        ("Git commit", provenance.get("git_commit", "")),
    ]
    return [(name, str(value)) for name, value in rows if value not in ("", None)]


def _reference(study: StudyResults) -> str:
    names = [name for name in study.trials["reference"].unique() if name]
    return f"{', '.join(names)}; of a shot group, its classes" if names else ""


def method_text(study: StudyResults) -> str:
    """Return what every trial of the study shares beside the contrastive loss, such as "CBDM"."""
    words = ["CBDM" if study.setting("objective.loss") == "cbdm" else "DDPM"]
    sampling = study.setting("data.class_sampling")
    if sampling not in (None, "natural"):
        words.append(f"{sampling} class sampling")
    if study.setting("objective.class_weights") == "inverse":
        words.append("loss weighted by 1 / n_c")
    if parts := study.setting("augmentation.diffaug"):
        words.append(f"DiffAug ({', '.join(parts)})")
    if rate := study.setting("augmentation.conditional_probability"):
        words.append(f"conditional augmentation ({rate:g})")
    if source := study.setting("training.init_from"):
        words.append(f"fine-tuned from {source}")
    return ", ".join(words)


def _counts_text(counts: list[int]) -> str:
    if not counts:
        return ""
    shown = [f"{count:,}" for count in counts]
    if len(shown) > MAX_CLASSES:
        shown = [*shown[:3], "...", *shown[-3:]]
    return f"{', '.join(shown)} ({len(counts)} classes in label order, {sum(counts):,} images)"


def _seeds(study: StudyResults) -> str:
    return (
        f"search {study.config.get('seed', 'unknown')}, "
        f"training {study.setting('training.seed')} (one per trial), "
        f"sampling {study.setting('evaluation.seed')} (the same noise for every trial)"
    )


def space_row(item: dict[str, Any]) -> dict[str, str]:
    """Return a searched parameter in words: its name, values, when it is asked, and source."""
    if item.get("choices") is not None:
        values = ", ".join(str(choice) for choice in item["choices"])
    else:
        ends = [
            f"{v:g}" if isinstance(v, float) else str(v) for v in map(item.get, ("low", "high"))
        ]
        values = f"{' to '.join(ends)}{', log' if item.get('log') else ''}"
    if item.get("prior") is not None:
        values += f"; prior {item['prior']}, {item.get('confidence')} confidence"
    when = item.get("when")
    if isinstance(when, dict):
        when = "; ".join(f"{key} is {_either(value)}" for key, value in flatten(when).items())
    return {
        "name": str(item.get("name")),
        "values": values,
        "when": str(when or "always"),
        "source": str(item.get("source") or ""),
    }


def _either(value: Any) -> str:
    return " or ".join(map(str, value)) if isinstance(value, list) else str(value)


def versions_text(study: StudyResults) -> str:
    """Return "python 3.11.7, torch 2.14.1, ..." of the export, "" without one."""
    versions = (study.best.get("provenance") or {}).get("versions")
    if not isinstance(versions, dict):
        return ""
    return ", ".join(f"{name} {value}" for name, value in versions.items() if pd.notna(value))
