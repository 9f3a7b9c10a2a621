"""What sampling costs, in evaluations of the network for an image (NFE), and what it gives."""

import numpy as np
import pandas as pd

from diffrop.analysis.data.compare import enough_samples
from diffrop.analysis.data.load import StudyResults
from diffrop.analysis.data.words import format_score
from diffrop.record.names import trial_label
from diffrop.study.objectives import front_ranks

MAX_NAMED = 4
"""Costs that the sentence names, at most."""


def checkpoint_rows(study: StudyResults) -> pd.DataFrame:
    """Return the first objective of every checkpoint at each way of sampling that was tried.

    A search tries many ways on few samples and few ways on many, and FIDs of unequal N do not
    compare: so the rows of a checkpoint are of one round, that with the most ways, of the larger N
    if two have as many; and those of a rung are of the round that most of its checkpoints share.

    Returns:
        rows of `study.measurements` that say their evaluations, with these as whole numbers; none
        of a rung whose round has too few samples.
    """
    rows = study.measurements
    rows = rows[(rows["score"] == study.objective) & rows["evaluations"].notna()]
    rows = rows.drop_duplicates(["number", "images_seen", "round_samples", "omega", "sampler"])
    if rows.empty:
        return rows
    checkpoint = ["number", "images_seen"]
    tried = rows.groupby([*checkpoint, "round_samples"]).size().rename("ways").reset_index()
    tried = tried.sort_values(["ways", "round_samples"])
    widest = tried.groupby(checkpoint)["round_samples"].last().rename("widest")
    shared = widest.groupby("images_seen").agg(lambda found: found.mode().max())
    kept = rows["round_samples"] == rows["images_seen"].map(shared)
    kept &= enough_samples(rows["num_samples"])
    return rows[kept].astype({"evaluations": int})


def on_front(rows: pd.DataFrame) -> np.ndarray:
    """Return which rows no cheaper one is as good as, nor an equally cheap one better than."""
    return np.asarray(front_ranks(rows[["evaluations", "value"]].to_numpy(float)) == 0)


def cost_sentence(study: StudyResults) -> str:
    """Return what fewer evaluations cost the best trial, "" where only one cost was tried."""
    trials = study.trials[study.trials["rank"].notna()].sort_values("rank")
    rows = checkpoint_rows(study)
    if trials.empty or rows.empty:
        return ""
    number = int(trials["number"].iloc[0])
    rows = rows[(rows["number"] == number) & rows["final"]]
    front = rows[on_front(rows)].sort_values("evaluations").drop_duplicates("evaluations")
    if len(front) < 2:
        return ""
    best, others = front.iloc[-1], front.iloc[-1 - MAX_NAMED : -1]
    parts = [
        f"{row['evaluations']:,} cost {row['value'] / best['value'] - 1:+.1%} "
        f"({format_score(row['value'])}, {row['sampler']} at omega {row['omega']:g})"
        for row in others.iloc[::-1].to_dict("records")
    ]
    return (
        f"Fewer evaluations: {trial_label(number)} has {study.objective} "
        f"{format_score(best['value'])} with {best['evaluations']:,} evaluations an image "
        f"({best['sampler']} at omega {best['omega']:g}); {', '.join(parts)}, on "
        f"{int(best['num_samples']):,} samples and the same noise."
    )
