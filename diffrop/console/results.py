"""A study's results in words and tables for the terminal, at 80 columns."""

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from diffrop.console.tables import number, plain_table
from diffrop.record.confirmation import ConfirmationRecord
from diffrop.record.json_files import read_record
from diffrop.record.results import CONTRASTIVE_COLUMNS, StudyResult, TrialResult
from diffrop.record.rung_agreement import AgreementRecord
from diffrop.record.score_card import ScoreCard
from diffrop.record.study_folder import StudyFolder
from diffrop.shot_groups import GROUPS


def results_table(result: StudyResult) -> Table:
    """Return the ranked table for the terminal; it fits 80 columns.

    Only COMPLETE trials have FIDs here: the others were scored on fewer images, if at all.
    """
    table = plain_table()
    table.add_column("#", justify="right", min_width=2)
    table.add_column("form", no_wrap=True)
    for heading in ("tau_0", "decay", "margin", "omega", *GROUPS):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("state", no_wrap=True)
    unranked = [trial for trial in result.trials if trial.rank is None]
    for trial in [*result.ranked, *unranked]:
        form = "baseline" if trial.number == 0 else trial.form
        settings = [trial.values.get(key) for key in CONTRASTIVE_COLUMNS]
        card = trial.card if trial.rank is not None else None
        fids = [card.scores.get(f"fid/{group}") if card else None for group in GROUPS]
        table.add_row(
            str(trial.rank or ""),
            form,
            *(number(value, ".3g") for value in settings[:2]),
            number(settings[2], ".4g"),
            number(card.omega if card else None, "g"),
            *(number(fid, ".2f" if fid is not None and fid < 1000 else ".0f") for fid in fids),
            _state(trial),
        )
    return table


def protocol(result: StudyResult) -> str:
    """Return in one sentence how the ranked trials were scored."""
    card = result.ranked[0].card if result.ranked else None
    if card is None:
        return "No trial was completed."
    shots = {n for group, n in card.num_samples.items() if group != "all"}
    per_group = f", N = {shots.pop():,} per shot group" if len(shots) == 1 else ""
    return (
        f"FID on {card.extractor}, N = {card.num_samples['all']:,} over all classes{per_group}, "
        f"{card.sampler}, against the {card.reference}, {card.images_seen:,} images seen; ranked "
        f"by {card.objective}."
    )


def metrics_table(card: ScoreCard) -> Table:
    """Return every metric of a score card, per group, for the terminal; it fits 80 columns.

    FIDs carry half the width of their 95 % interval.
    """
    table = plain_table(2)
    table.add_column("metric", no_wrap=True)
    for group in GROUPS:
        table.add_column(group, justify="right", no_wrap=True)
    scores = card.scores
    for metric in dict.fromkeys(name.partition("/")[0] for name in scores):
        cells = []
        for group in GROUPS:
            name = f"{metric}/{group}"
            ends = card.intervals.get(name) if metric == "fid" else None
            width = f" +-{(ends.high - ends.low) / 2:.3g}" if ends else ""
            cells.append(number(scores.get(name), ".4g") + width)
        table.add_row(metric, *cells)
    return table


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
    best = next((trial for trial in result.ranked if trial.number in result.differences), None)
    if best is not None:
        found = result.differences[best.number]
        places = 2 if found.high - found.low >= 0.1 else 4
        lines.append(
            f"{best.name} less the baseline: {found.value:+.{places}f} [{found.low:+.{places}f}, "
            f"{found.high:+.{places}f}], paired over samples; one training seed, and the best of "
            f"{len(result.differences)}."
        )
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
