"""Which measurements a figure can draw: their samples are many enough, and equally many."""

import pandas as pd

from diffrop.analysis.data.compare import comparable_trials, enough_samples
from diffrop.analysis.data.load import StudyResults


def measured(study: StudyResults, score: str) -> pd.DataFrame:
    """Return the rows of `study.measurements` of one score, those of enough samples."""
    rows = study.measurements
    return rows[(rows["score"] == score) & enough_samples(rows["num_samples"])]


def omega_rows(study: StudyResults, numbers: list[int], score: str) -> pd.DataFrame:
    """Return the scores over omega of some comparable trials at the end of training.

    A search by halving tries many omegas with few samples and few omegas with many, and FIDs of
    unequal N do not compare: so the rows are of one round, that with the most omegas, of the
    larger N if two have as many.

    Args:
        study: its measurements are looked through.
        numbers: the trials.
        score: one score, such as "fid/few".

    Returns:
        rows of `study.measurements`, all with one `round_samples`, with the sampler that the
        comparable trials share; none where that round has too few samples.
    """
    samplers = comparable_trials(study)["sampler"].unique()
    rows = study.measurements
    rows = rows[rows["final"] & (rows["score"] == score) & rows["sampler"].isin(samplers)]
    rows = rows[rows["number"].isin(numbers)]
    tried = rows.groupby("round_samples").size()
    if tried.empty:
        return rows.iloc[:0]
    widest = tried[tried == tried.max()].index.max()
    rows = rows[rows["round_samples"] == widest].sort_values(["number", "omega"])
    return rows[enough_samples(rows["num_samples"])]


def round_note(rows: pd.DataFrame, full: int | None) -> str:
    """Return the round of the curves for a caption, "" where it is the full score."""
    drawn = rows["round_samples"].dropna()
    if drawn.empty or drawn.iloc[0] == full:
        return ""
    return f"curves from the round with N = {int(drawn.iloc[0]):,} of the search for omega"
