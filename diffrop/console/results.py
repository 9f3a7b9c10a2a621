"""A study's results in words and tables for the terminal, at 80 columns."""

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from diffrop.console.tables import Column, fitted_table, number
from diffrop.console.terminal import TABLE_WIDTH
from diffrop.metrics.interval import Interval
from diffrop.metrics.protocol import name_note
from diffrop.record.confirmation import ConfirmationRecord
from diffrop.record.json_files import read_record
from diffrop.record.results import StudyResult, TrialResult
from diffrop.record.rung_agreement import AgreementRecord
from diffrop.record.study_folder import StudyFolder
from diffrop.shot_groups import GROUPS
from diffrop.study.ranking import order_in_words
from diffrop.study.space import FORM_KEY

MIN_ROWS, MAX_ROWS = 2, 9
"""Trials on the last screen, as many as fit."""
GROUP_IMPORTANCE = dict(zip(GROUPS, (3, 1, 0, 2), strict=True))
"""Of all, many, medium and few: where there is no room, the least goes first."""
HEADINGS = {"contrastive.decay_temperature": "decay"}
"""Of searched keys whose last word is too long."""


def results_table(
    result: StudyResult, width: int = TABLE_WIDTH, most: int = MAX_ROWS
) -> tuple[Table, list[str]]:
    """Return the trials as a table, in the order of their ranks, and the headings left out.

    Only COMPLETE trials have FIDs here: the others were scored on fewer images, if at all. Of
    the searched parameters each has a column; whole columns give way where there is no room.

    Args:
        result: the trials.
        width: columns of characters that there are.
        most: rows; the baseline is always among them.
    """
    return fitted_table(_columns(result, _shown(result, most)), width)


def _shown(result: StudyResult, most: int) -> list[TrialResult]:
    """Return the trials that have a row: the leaders, and the baseline."""
    trials = [*result.ranked, *(trial for trial in result.trials if trial.rank is None)]
    shown, others = trials[:most], trials[most:]
    baseline = [trial for trial in others if trial.number == 0]
    return [*shown[: most - len(baseline)], *baseline]


def _columns(result: StudyResult, trials: list[TrialResult]) -> list[Column]:
    searched = [parameter.name for parameter in result.config.space.parameters]
    columns = [Column("trial", [trial.label for trial in trials], 10, is_text=True)]
    if FORM_KEY not in searched:
        marks = ["baseline" if trial.number == 0 else "" for trial in trials]
        columns.append(Column("", marks, 8, is_text=True))
    for place, key in enumerate(searched):
        cells = [_setting(trial, key) for trial in trials]
        heading = HEADINGS.get(key, key.rpartition(".")[2])
        columns.append(Column(heading, cells, 7 - min(place, 4), is_text=key == FORM_KEY))
    cards = [trial.card if trial.rank is not None else None for trial in trials]
    omegas = [number(card.omega if card else None, "g") for card in cards]
    columns.append(Column("omega", omegas, 2))
    evaluations = [card.evaluations if card else None for card in cards]
    if any(count is not None for count in evaluations):
        columns.append(Column("NFE", [number(count, ",") for count in evaluations], 0))
    objectives = result.config.experiment.evaluation.objectives
    for group in GROUPS:
        scores = [card.scores.get(f"fid/{group}") if card else None for card in cards]
        fids = [number(fid, ".2f" if fid is not None and fid < 1000 else ".0f") for fid in scores]
        wanted = f"fid/{group}" in objectives
        columns.append(Column(group, fids, 9 if wanted else 2 if group in ("all", "few") else 1))
    if any(trial.feasible is not None for trial in trials):
        words = {True: "yes", False: "no", None: ""}
        kept = [words[trial.feasible] for trial in trials]
        columns.append(Column("kept", kept, 8, is_text=True))
    states = [_state(trial) for trial in trials]
    if set(states) != {"COMPLETE"}:
        columns.append(Column("state", states, 8, is_text=True))
    return columns


def _setting(trial: TrialResult, key: str) -> str:
    """Return a trial's value of a searched key."""
    if key == FORM_KEY and trial.number == 0:
        return "baseline"
    value = trial.values.get(key)
    if value is None:
        return "-"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    near_one = 0.9 < value < 1.1  # margins are searched from 0.995 to 1.05
    return f"{value:,}" if isinstance(value, int) else f"{value:{'.4g' if near_one else '.3g'}}"


def protocol(result: StudyResult) -> str:
    """Return in one sentence how the ranked trials were scored."""
    card = result.ranked[0].card if result.ranked else None
    if card is None:
        return "No trial was completed."
    shots = {n for group, n in card.num_samples.items() if group != "all"}
    per_group = f", N = {shots.pop():,} per shot group" if len(shots) == 1 else ""
    judged = any(trial.feasible is not None for trial in result.ranked)
    order = order_in_words(result.config.experiment.evaluation.objectives, judged)
    return (
        f"FID on {card.extractor}, N = {card.num_samples['all']:,} over all classes{per_group}, "
        f"{card.sampler}, against the {card.reference}, {card.images_seen:,} images seen; ranked "
        f"by {order}{' (kept)' if judged else ''}."
    )


def metrics_table(
    scores: Mapping[str, float],
    intervals: Mapping[str, Interval],
    extractor: str,
    width: int = TABLE_WIDTH,
) -> Table:
    """Return every metric, per group, for the terminal.

    FIDs carry half the width of their 95 % interval. Below the table stand what belongs to the
    metrics' names, and the groups for which there is no room.

    Args:
        scores: by `metric/group`.
        intervals: of those that have one.
        extractor: of the features.
        width: columns of characters that there are.
    """
    metrics = list(dict.fromkeys(name.partition("/")[0] for name in scores))
    columns = [Column("metric", metrics, len(GROUP_IMPORTANCE), is_text=True)]
    for group, importance in GROUP_IMPORTANCE.items():
        cells = [_metric_cell(f"{metric}/{group}", scores, intervals) for metric in metrics]
        columns.append(Column(group, cells, importance))
    table, left_out = fitted_table(columns, width)
    notes = [f"{name} {note}" for name in metrics if (note := name_note(name, extractor))]
    table.caption = "\n".join(notes + [f"not shown: {', '.join(left_out)}"] * bool(left_out))
    table.caption_justify, table.caption_style = "left", ""
    return table


def _metric_cell(name: str, scores: Mapping[str, float], intervals: Mapping[str, Interval]) -> str:
    ends = intervals.get(name) if name.startswith(("fid/", "fid_full/")) else None
    half = f" +-{(ends.high - ends.low) / 2:.3g}" if ends else ""
    return number(scores.get(name), ".4g") + half


def scale(result: StudyResult, reference_scores: Mapping[str, Any]) -> list[str]:
    """Return what to compare the FIDs with: real images, noise, and how often labels are right."""
    lines = []
    if reference_scores:
        real, noise = reference_scores["real"], reference_scores["noise"]
        of_real = number(real["scores"].get("fid/all"), ".2f")  # none of a handful of images
        lines.append(
            f"For scale, fid/all of real images is {of_real} "
            f"({real['note']}), of pure noise {noise['scores']['fid/all']:.2f} "
            f"(N = {noise['num_samples']['all']:,})."
        )
    baseline = result.trials[0].card if result.trials and result.trials[0].rank else None
    if baseline is not None and "accuracy/all" in baseline.scores:
        lines.append(
            f"{baseline.scores['accuracy/all']:.0%} of the baseline's samples at its best omega "
            f"show the label that was asked for, says {baseline.extractor}."
        )
    return lines


def remarks(result: StudyResult) -> list[str]:
    """Return what the table cannot say: at which N trials were stopped, why others failed."""
    lines = [] if result.nothing_learned else _comparison(result)
    lines += _constraints(result)
    stopped = [trial.card for trial in result.trials if trial.state == "PRUNED" and trial.card]
    if stopped:
        counts = sorted({card.num_samples["all"] for card in stopped})
        numbers = ", ".join(f"{count:,}" for count in counts)
        lines.append(
            f"PRUNED trials were scored on N = {numbers} at the rung that they reached; those "
            "values are in trials.csv and cannot be compared with the ranked ones."
        )
    lines.extend(f"{t.name} failed: {t.message}" for t in result.trials if t.state == "FAIL")
    return lines


def conclusions(folder: StudyFolder) -> list[str]:
    """Return what a study's records conclude: whether stopping was right, what was confirmed."""
    agreement = read_record(folder.rung_agreement, AgreementRecord)
    confirmation = read_record(folder.confirmation, ConfirmationRecord)
    lines = []
    if agreement is not None and agreement.rungs:
        lines.append(f"Rungs against the full score: {agreement.conclusion}")
    if confirmation is not None:
        lines.append(f"Confirmed: {confirmation.conclusion}")
    return lines


def _comparison(result: StudyResult) -> list[str]:
    """The baseline's interval, and how far the best other trial is from it."""
    baseline = result.trials[0] if result.trials and result.trials[0].rank else None
    if baseline is None or baseline.card is None:
        return []
    card = baseline.card
    lines = []
    if card.objective in card.intervals:
        ends = card.intervals[card.objective]
        lines.append(
            f"The baseline's {card.objective} is {card.value:.2f}, [{ends.low:.2f}, "
            f"{ends.high:.2f}] with 95% confidence over samples."
        )
    known = [(trial, found) for trial in result.ranked if (found := result.difference(trial))]
    if known:
        best, found = known[0]
        places = 2 if found.high - found.low >= 0.1 else 4
        lines.append(
            f"{best.name} less the baseline: {found.value:+.{places}f} [{found.low:+.{places}f}, "
            f"{found.high:+.{places}f}], paired over samples; one training seed, and the best of "
            f"{len(known)}."
        )
        spread = result.confirmation and result.confirmation.seed_spread
        lines += [str(spread)] if spread else []
    return lines


def _constraints(result: StudyResult) -> list[str]:
    """Whether the trials keep the study's constraints, in so far as that is known."""
    texts = "; ".join(result.config.experiment.evaluation.constraints)
    if not texts or not result.ranked:
        return []
    judged = [trial for trial in result.ranked if trial.feasible is not None]
    if not judged:
        return [
            f"Whether trials keep {texts} is unknown: the baseline has no full score. They "
            f"are ranked by {result.config.experiment.evaluation.objective} alone."
        ]
    kept = sum(trial.feasible is True for trial in judged)
    line = f"{kept} of {len(judged)} ranked trials keep {texts}."
    return [line if kept else f"{line} First is the one that breaks it least."]


def _state(trial: TrialResult) -> str:
    """The state; for a stopped trial with the rung that it reached, as in "PRUNED 10k"."""
    if trial.state != "PRUNED" or trial.card is None:
        return trial.state
    images = trial.card.images_seen
    if images < 1_000:
        return f"PRUNED {images}"
    return f"PRUNED {images / 1e3:.0f}k" if images < 1e6 else f"PRUNED {images / 1e6:.1f}M"
