"""Descriptions of runs: what MLflow's UI shows of a run in words, as Markdown."""

import re
from collections.abc import Iterable, Mapping, Sequence

from diffrop.metrics.protocol import name_note
from diffrop.printable import printable
from diffrop.record.score_card import ScoreCard
from diffrop.shot_groups import GROUPS, SHOT_GROUPS
from diffrop.tracking.metrics import final_scores

MARKS = re.compile(r"[\\`*_<>\[\]|~&#!]")
"""Characters that mean something in Markdown, or begin HTML."""
STATES = {"RUNNING": "Running", "COMPLETE": "Complete", "PRUNED": "Pruned", "FAIL": "Failed"}


def markdown_text(text: str) -> str:
    """Return Markdown that shows a text as it is: without markup, HTML or links of its own."""
    return MARKS.sub(r"\\\g<0>", printable(text))


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; its numbers stand to the right, the first column to the left."""
    lines = [head, [":--", *["--:"] * (len(head) - 1)]]
    lines += [[markdown_text(cell) for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def trial_note(
    state: str, message: str, card: ScoreCard | None, lineage: Mapping[str, str]
) -> str:
    """Return what a trial came to: its scores first, for tables show the first line alone.

    Args:
        state: a key of `STATES`.
        message: why it failed, or at which rung it was pruned.
        card: its newest score.
        lineage: names of what it was trained from, in words, with their values.
    """
    how = STATES[state] + (f": {message}" if message else "")
    parts = [markdown_text(how) + "."]
    if card is not None:
        found = fid_sentence(card.scores)
        parts.insert(0 if card.final else 1, f"**{found}**" if card.final else found)
        parts += [_protocol(card)]
        if card.final:
            parts.append(_score_table(card))
    if lineage:
        known = ", ".join(f"{name} {value}" for name, value in lineage.items())
        parts.append(markdown_text(f"Weights: {known}."))
    return "\n\n".join(parts)


def fid_sentence(scores: Mapping[str, float]) -> str:
    """Return the FIDs among scores as a sentence."""
    groups = [
        f"{group} {scores[f'fid/{group}']:.2f}"
        for group in SHOT_GROUPS
        if f"fid/{group}" in scores
    ]
    every = f"FID {scores['fid/all']:.2f}" if "fid/all" in scores else "FID"
    return every + (f" ({', '.join(groups)})" if groups else "")


def _protocol(card: ScoreCard) -> str:
    """Return how a score was made, without which it compares with nothing."""
    shots = {card.num_samples[group] for group in SHOT_GROUPS if group in card.num_samples}
    counts = f"N = {card.num_samples['all']:,}"
    counts += f" over all classes, {' or '.join(f'{n:,}' for n in sorted(shots))} a shot group"
    return markdown_text(
        f"After {card.images_seen:,} images, sampled by {card.sampler} at omega = {card.omega:g},"
        f" scored on {card.extractor} against the {card.reference}, {counts}."
    )


def _score_table(card: ScoreCard) -> str:
    """Return the final scores that are logged, by class group; all others are in the files."""
    names = dict.fromkeys(name.partition("/")[0] for name in final_scores(card))
    rows = []
    for name in names:
        cells = [_score(card, f"{name}/{group}") for group in GROUPS]
        rows.append([f"{name} {name_note(name, card.extractor)}".strip(), *cells])
    return table(["score [95 %]", *GROUPS], rows)


def _score(card: ScoreCard, name: str) -> str:
    if name not in card.scores:
        return "-"
    interval = card.intervals.get(name)
    value = _number(card.scores[name])
    return value if interval is None else f"{value} [{interval.low:.4g}, {interval.high:.4g}]"


def _number(value: float) -> str:
    return f"{value:.4g}"
