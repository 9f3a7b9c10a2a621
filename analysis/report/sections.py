"""Tables of the report beside that of the trials: confirmation, stopping, the front, the cost."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from diffrop.analysis.data.compare import best_trial
from diffrop.analysis.data.evaluations import cost_sentence
from diffrop.analysis.data.load import StudyResults
from diffrop.analysis.data.words import format_count, format_score
from diffrop.analysis.figures.cost import cost_hours
from diffrop.analysis.report.summary import constraints
from diffrop.cost.actual import comparison
from diffrop.record.confirmation import ConfirmedLeader
from diffrop.record.names import trial_label
from diffrop.record.rung_agreement import RungAgreement

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
    if found is None:
        return Section(
            ["No trial was trained again with fresh seeds; --confirm 3 does so for three leaders."]
        )
    rows = [row for leader in found.leaders for row in _look_rows(leader)]
    protocol = (
        f"The leaders and the baseline were trained again with seeds that no search had seen, and "
        f"scored by {found.objective} on {format_count(found.num_samples)} samples; each "
        "difference is a leader less the baseline with the same seed, and lower is better."
    )
    level = f"{1 - found.alpha:.0%}".replace("%", " %")
    together = f"The intervals hold together with {level} confidence, for all leaders"
    if found.repeated:
        together += f" and all looks at {found.num_seeds} to {found.max_seeds} seeds"
        level = f"repeated {level}"
    sentences = [*_sentence(found.conclusion), protocol, f"{together}."]
    columns = ["leader", "mean", f"{level} interval", "seeds", "difference at each new seed"]
    return Section(sentences, columns, rows)


def _look_rows(leader: ConfirmedLeader) -> list[list[str]]:
    """Return a row for each number of seeds that a leader was judged by."""
    looks: list[tuple[int, float | None, float | None, float | None]] = [
        (look.num_seeds, look.mean, look.low, look.high) for look in leader.looks
    ] or [(len(leader.by_seed), leader.mean, leader.low, leader.high)]
    rows: list[list[str]] = []
    shown = 0
    for num_seeds, mean, low, high in looks:
        new = ", ".join(_signed(value) for value in leader.by_seed[shown:num_seeds]) or "-"
        name = "" if rows else leader.name
        ends = f"{_signed(low)} to {_signed(high)}"
        rows.append([name, _signed(mean), ends, str(num_seeds), new])
        shown = num_seeds
    return rows


def stopping_section(study: StudyResults) -> Section:
    """Return how many trials were stopped at each rung, and whether that was right."""
    stopped = study.trials[study.trials["state"] == "PRUNED"]
    counts = Counter(stopped["rung"].dropna().astype(int))
    agreement = study.agreement
    measured = {row.images: row for row in agreement.rungs} if agreement else {}
    if agreement is not None:
        sentences = _sentence(agreement.conclusion)
    elif len(stopped):
        sentences = ["Whether the rungs rank as the end does has not been measured yet."]
    else:
        sentences = ["No trial was stopped."]
    sentences += _audited(study)
    rows = [
        _rung_row(images, counts.get(images, 0), measured.get(images))
        for images in sorted({*counts, *measured})
    ]
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


def _rung_row(images: int, num_stopped: int, found: RungAgreement | None) -> list[str]:
    if found is None:
        return [f"{images:,}", "-", "-", str(num_stopped), "-", "-", "-", "-"]
    return [
        f"{images:,}",
        format_count(found.num_samples),
        format_count(found.num_steps) if found.num_steps else "-",
        str(num_stopped),
        str(found.num_trials),
        str(found.num_audited),
        _real(found.tau),
        f"{_real(found.low)} to {_real(found.high)}",
    ]


def _audited(study: StudyResults) -> list[str]:
    """Return how the trials ended that the rule would have stopped but that ran on."""
    trials = study.trials[study.trials["audited_at"].notna()]
    ranked = int(study.trials["rank"].notna().sum())
    ends = [
        f"{trial_label(trial['number'])}, which the rule would have stopped at "
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
    sentences = [
        f"{front['front'].sum()} of {len(front)} choices of trial, omega and sampler are on the "
        f"Pareto front of {' and '.join(study.objectives)}: no other is at least as good in all "
        "of them and better in one."
    ]
    if limits:
        kept_text = f"{front['feasible'].sum()} of {len(front)} meet {'; '.join(limits)}"
        unknown = int(front["feasible"].isna().sum())
        more = (
            f"; for {unknown} it is unknown, because the baseline has no score" if unknown else ""
        )
        sentences.append(f"{kept_text}{more}.")
    if len(front) > MAX_ROWS:
        sentences.append(f"The first {MAX_ROWS} are shown; front.csv has all.")
    kept = front["feasible"].map({True: "met", False: "not met"}).fillna("unknown")
    place = kept.map(["met", "unknown", "not met"].index)
    order = ["front", "_place", *scores[:1]]
    ordered = front.assign(_kept=kept, _place=place).sort_values(
        order, ascending=[False, True, True][: len(order)]
    )
    rows = [
        [
            trial_label(int(row["number"])),
            f"{row['omega']:g}",
            str(row["sampler"]),
            *(format_score(_float(row[name])) for name in scores),
            *([row["_kept"]] if limits else []),
            "yes" if row["front"] else "",
        ]
        for row in ordered.head(MAX_ROWS).to_dict("records")
    ]
    asked = ["constraints"] if limits else []
    return Section(sentences, ["trial", "omega", "sampler", *scores, *asked, "on the front"], rows)


def known_before(study: StudyResults) -> list[str]:
    """Return what the search knew before it began, a sentence each.

    These are the earlier studies whose trials the sampler knew, and the priors of the space.
    """
    return [*(f"{note}." for note in study.warm_start), *_of_priors(study)]


def _of_priors(study: StudyResults) -> Iterator[str]:
    priors = [
        f"{item['name']} {item['prior']}" for item in study.space if item.get("prior") is not None
    ]
    if not priors:
        return
    near, best = study.trials[study.trials["from_prior"]], best_trial(study)
    place = "" if best is None else ", the best trial is not one of them"
    if best is not None and best["number"] in near["number"].to_numpy():
        place = f", the best trial ({trial_label(int(best['number']))}) is one of them"
    yield (
        f"The space has priors: {', '.join(priors)}. {len(near)} of {len(study.trials) - 1} "
        f"trials took values around them, fewer as trials ended{place}."
    )


def cost_section(study: StudyResults) -> Section:
    """Return the planned cost beside the actual one, and what cheaper sampling would cost."""
    sentences = [_spent(study), *_sampling_cost(study)]
    plan, actual = (study.cost.plan, study.cost.actual) if study.cost else (None, None)
    if plan is None:
        return Section([*sentences, "No plan was written before the study began."])
    if actual is None:
        return Section(sentences)
    rows = [list(row) for row in comparison(plan, actual)]
    return Section(sentences, ["", "planned", "actual"], rows)


def _sampling_cost(study: StudyResults) -> list[str]:
    """Return what fewer evaluations cost the best trial, and why it is sampled as it is."""
    found = _sentence(cost_sentence(study))
    for number in study.trials.loc[study.trials["rank"] == 1, "number"]:
        found += [
            f"How {trial_label(int(number))} is sampled: {card.preference.reason}."
            for card in study.folder(int(number)).scores()[-1:]
            if card.preference is not None
        ]
    return found


def _spent(study: StudyResults) -> str:
    """Return in one sentence what the study took, from its cost account."""
    table, unit = cost_hours(study.costs)
    hours = float(table.sum().sum())
    training = float(table["training"].sum()) if "training" in table else 0.0
    drawn = int(study.costs["samples"].sum())
    return (
        f"The study took {_hours(hours, unit)}: {_hours(training, unit)} of training and "
        f"{_hours(hours - training, unit)} of scoring, with {drawn:,} samples drawn."
    )


def _hours(hours: float, unit: str) -> str:
    return f"{hours:,.1f} {unit}-hours" if hours >= 1 else f"{60 * hours:.1f} {unit}-minutes"


def _sentence(text: str) -> list[str]:
    """Return a conclusion as a sentence; none for an empty one."""
    text = text.strip()
    if not text:
        return []
    if not re.match(r"t\d", text):  # the name of a trial stays as it is
        text = text[0].upper() + text[1:]
    return [text + ("" if text.endswith((".", "!", "?")) else ".")]


def _float(value: Any) -> float:
    return float(pd.to_numeric(value, errors="coerce"))


def _signed(value: float | None) -> str:
    return "-" if value is None else f"{value:+.2f}"


def _real(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
