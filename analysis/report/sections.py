"""Tables of the report beside that of the trials: confirmation, stopping, the front, the cost."""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from analysis.data.confirmed import mappings
from analysis.data.load import StudyResults
from analysis.data.names import trial_name
from analysis.data.words import format_count, format_score
from analysis.report.summary import constraints

_FLAGS = {"true": "yes", "1": "yes", "1.0": "yes", "false": "no", "0": "no", "0.0": "no"}
MAX_ROWS = 60
"""Rows of the front that are shown; the file has the rest."""


@dataclass(frozen=True)
class Section:
    """Sentences, and a table below them."""

    sentences: list[str]
    columns: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)


def confirmation_section(study: StudyResults) -> Section:
    """Return each leader's retrainings beside the baseline's on the same seeds."""
    found = study.confirmation
    if not found:
        return Section(
            ["No trial was trained again with fresh seeds; --confirm 3 does so for three leaders."]
        )
    rows = []
    for leader in mappings(found.get("leaders")):
        seeds = [_signed(value) for value in leader.get("differences") or "-"]
        ends = f"{_signed(leader.get('low'))} to {_signed(leader.get('high'))}"
        name = str(leader.get("name") or leader.get("trial"))
        rows.append([name, ", ".join(seeds), _signed(leader.get("mean")), ends])
    objective = str(found.get("objective") or study.objective)
    protocol = (
        f"The leaders and the baseline were trained again with seeds that no search had seen, and "
        f"scored by {objective} on {format_count(found.get('num_samples'))} samples; each "
        "difference is a leader less the baseline with the same seed, and lower is better."
    )
    level = f"{1 - float(found.get('alpha') or 0.05):.0%}".replace("%", " %")
    columns = ["leader", "difference at each seed", "mean", f"{level} interval"]
    return Section([*_conclusion(found), protocol], columns, rows)


def stopping_section(study: StudyResults) -> Section:
    """Return how many trials were stopped at each rung, and whether that was right."""
    stopped = study.trials[study.trials["state"] == "PRUNED"]
    counts = Counter(stopped["rung"].dropna().astype(int))
    measured = {
        int(row["images"]): row
        for row in mappings(study.fidelity.get("rungs"))
        if type(row.get("images")) is int
    }
    sentences = _conclusion(study.fidelity)
    if not study.fidelity:
        sentences.append(
            "Whether the rungs rank as the end does has not been measured yet."
            if len(stopped)
            else "No trial was stopped."
        )
    sentences += _audited(study)
    rows = []
    for images in sorted({*counts, *measured}):
        row = measured.get(images, {})
        ends = f"{_real(row.get('low'))} to {_real(row.get('high'))}" if row else "-"
        samples = (format_count(row[key]) if row.get(key) else "-" for key in _RUNG_KEYS)
        rows.append(
            [
                f"{images:,}",
                *samples,
                str(counts.get(images, 0)),
                str(row.get("num_trials", "-")),
                str(row.get("num_audited", "-")),
                _real(row.get("tau")),
                ends,
            ]
        )
    columns = [
        "rung, images",
        "N",
        "steps",
        "stopped here",
        "ran on to the end",
        "of them audited",
        "Kendall's tau",
        "95 % interval",
    ]
    return Section(sentences, columns if rows else [], rows)


_RUNG_KEYS = ("num_samples", "num_steps")


def _audited(study: StudyResults) -> list[str]:
    """Return how the trials ended that the rule would have stopped but that ran on."""
    trials = study.trials[study.trials["audited_at"].notna()]
    ranked = int(study.trials["rank"].notna().sum())
    ends = [
        f"{trial_name(trial['number'])}, which the rule would have stopped at "
        f"{format_count(trial['audited_at'])} images, "
        + (
            f"ended at rank {format_count(trial['rank'])} of {ranked}"
            if pd.notna(trial["rank"])
            else "has no rank"
        )
        for _, trial in trials.iterrows()
    ]
    return [f"Audited: {'; '.join(ends)}."] if ends else []


def front_section(study: StudyResults) -> Section | None:
    """Return the scored choices by the front and the constraints; None for a single objective."""
    front, limits = study.front, constraints(study)
    if front is None or (len(study.objectives) < 2 and not limits):
        return None
    scores = [name for name in study.objectives if name in front]
    scores += [name for name in map(str, front) if "/" in name and name not in scores]
    on_front = front["front"].map(_flag) == "yes"
    kept = front["feasible"].map(_flag)
    sentences = [
        f"{on_front.sum()} of {len(front)} choices of trial, omega and sampler are on the Pareto "
        f"front of {' and '.join(study.objectives)}: no other is at least as good in all of them "
        "and better in one."
    ]
    if limits:
        kept_text = f"{(kept == 'yes').sum()} of {len(front)} meet {'; '.join(limits)}"
        unknown = int((kept == "unknown").sum())
        more = (
            f"; for {unknown} it is unknown, because the baseline has no score" if unknown else ""
        )
        sentences.append(f"{kept_text}{more}.")
    if len(front) > MAX_ROWS:
        sentences.append(f"The first {MAX_ROWS} are shown; front.csv has all.")
    ordered = front.assign(_front=on_front, _kept=kept)
    for name, ascending in [
        *((name, True) for name in scores[:1]),
        ("_kept", False),
        ("_front", False),
    ]:
        ordered = ordered.sort_values(name, ascending=ascending, kind="stable")
    words = {"yes": "met", "no": "not met"}
    rows = [
        [
            trial_name(row["number"]),
            _omega(row.get("omega")),
            str(row["sampler"]),
            *(format_score(_float(row[name])) for name in scores),
            *([words.get(row["_kept"], "unknown")] if limits else []),
            "yes" if row["_front"] else "",
        ]
        for row in ordered.head(MAX_ROWS).to_dict("records")
    ]
    asked = ["constraints"] if limits else []
    return Section(sentences, ["trial", "omega", "sampler", *scores, *asked, "on the front"], rows)


def learned_notes(study: StudyResults) -> list[str]:
    """Return a sentence for each earlier study whose trials the sampler knew."""
    notes = study.warm_start.get("notes")
    return [f"{note}." for note in notes] if isinstance(notes, list) else []


def cost_section(study: StudyResults) -> Section:
    """Return the planned cost beside the actual one."""
    plan, actual = (study.plan.get(key) or {} for key in ("plan", "fact"))
    if not isinstance(plan, dict) or not isinstance(actual, dict):
        plan, actual = {}, {}
    rows = []
    for key, (name, shown) in _COSTS.items():
        planned, taken = _number(plan.get(key)), _number(actual.get(key))
        if planned is None and taken is None:
            continue
        ratio = f"{taken / planned:.2f}" if planned and taken is not None else "-"
        rows.append([name, *("-" if v is None else shown(v) for v in (planned, taken)), ratio])
    sentences = [_spent(study)]
    if not plan:
        sentences.append("No plan was written before the study began.")
    return Section(sentences, ["", "planned", "actual", "actual / planned"] if rows else [], rows)


def _spent(study: StudyResults) -> str:
    trials = study.trials
    parts = [
        f"{_hours(float(trials[column].sum()))} of {name}"
        for column, name in (("training_s", "training"), ("scoring_s", "scoring"))
        if trials[column].notna().any()
    ]
    drawn = trials["samples_drawn"].sum()
    parts += [f"{int(drawn):,} samples drawn"] if drawn else []
    whole = f"All trials together took {_hours(float(trials['duration_s'].sum()))}"
    return f"{whole}: {', '.join(parts)}." if parts else f"{whole}."


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:,.1f} h" if seconds >= 3600 else f"{seconds / 60:.1f} min"


def _mib(value: float) -> str:
    return f"{value / 1024:,.1f} GiB" if value >= 1024 else f"{value:,.0f} MiB"


_COSTS: dict[str, tuple[str, Callable[[float], str]]] = {
    "gpu_hours": ("GPU hours", "{:,.2f}".format),
    "worker_hours": ("worker hours", "{:,.2f}".format),
    "wall_s": ("time on the clock", _hours),
    "images": ("images trained", "{:,.0f}".format),
    "samples": ("samples drawn", "{:,.0f}".format),
    "memory_mib": ("memory of a worker", _mib),
    "disk_mib": ("disk", _mib),
    "cost": ("cost, in the currency of the price", "{:,.2f}".format),
    "price_per_gpu_hour": ("price of a GPU hour", "{:,.2f}".format),
}


def _conclusion(found: dict[str, Any]) -> list[str]:
    text = str(found.get("verdict") or "").strip()
    if not text:
        return []
    if not re.match(r"t\d", text):  # the name of a trial stays as it is
        text = text[0].upper() + text[1:]
    return [text + ("" if text.endswith((".", "!", "?")) else ".")]


def _number(value: Any) -> float | None:
    return float(value) if type(value) in (int, float) else None


def _float(value: Any) -> float:
    return float(pd.to_numeric(value, errors="coerce"))


def _signed(value: Any) -> str:
    return "-" if _number(value) is None else f"{value:+.2f}"


def _real(value: Any) -> str:
    return "-" if _number(value) is None else f"{value:.2f}"


def _omega(value: Any) -> str:
    return "-" if _number(value) is None else f"{value:g}"


def _flag(value: object) -> str:
    """Return a cell of front.csv as yes, no or, where it is empty, unknown."""
    return _FLAGS.get(str(value).lower(), "unknown")
