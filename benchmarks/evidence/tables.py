"""The tables of RESULTS.md, in Markdown."""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
from scipy.stats import spearmanr

from benchmarks.evidence.arms import Arm, Setting
from benchmarks.evidence.claims import LOWER_IS_BETTER, Comparison, Read
from benchmarks.evidence.compare import (
    Estimate,
    at_best_omega,
    detectable,
    difference,
    final_scores,
    holm,
    rows_of,
    whole_rows,
)
from benchmarks.evidence.stages import CURVE, DDPM, EXPONENTIAL, FEW, SETTINGS, STRONG_OWN
from benchmarks.evidence.table import FIDS
from benchmarks.evidence.wide_search import RATIO, WideSearch
from diffrop.analysis.data.words import parameter_label
from diffrop.record.confirmation import ConfirmedLeader

NONE = "-"
EIGHT = 8
"""Seeds of each of two methods that share no draws."""


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))


def signed(estimate: Estimate, factor: float = 1.0) -> str:
    """Return a difference with its 95 % interval."""
    if estimate.num < 2:
        return NONE
    return with_ends(factor * estimate.mean, factor * estimate.low, factor * estimate.high)


def with_ends(mean: float, low: float, high: float) -> str:
    """Return a difference with the ends of its interval."""
    return f"{mean:+.2f} [{low:+.2f}, {high:+.2f}]"


def claims_table(read: Read, claims: Sequence[Comparison]) -> str:
    """Return each claim with the paper's numbers, ours and the outcome."""
    rows = []
    for claim, found, adjusted in estimated(read, claims):
        factor = 1 if claim.score in LOWER_IS_BETTER else 100
        rows.append(
            [
                claim.source,
                claim.words,
                NONE if claim.published is None else "{:.2f} - {:.2f}".format(*claim.published),
                signed(found, factor),
                seeds_in_words(found.num, claim.failed(read)),
                f"{factor * found.detectable:.1f}",
                f"{adjusted:.3f}",
                claim.outcome(found, adjusted, claim.as_published(read)),
            ]
        )
    head = ["paper", "what", "published", "here [95 %]", "seeds", "visible", "p (Holm)", "outcome"]
    return markdown(head, rows)


def seeds_in_words(num: int, failed: int) -> str:
    """Return how many seeds an estimate has, and how many trainings failed."""
    return f"{num} ({failed} failed)" if failed else str(num)


def estimated(
    read: Read, comparisons: Sequence[Comparison]
) -> list[tuple[Comparison, Estimate, float]]:
    """Return comparisons with their estimates and p values that hold for all of them together."""
    found = [comparison.estimate(read) for comparison in comparisons]
    return list(zip(comparisons, found, holm([one.p_value for one in found]), strict=True))


def further_table(read: Read, comparisons: Sequence[Comparison]) -> str:
    """Return what else was compared: FID of all classes and of each shot group."""
    rows = []
    for comparison, found, adjusted in estimated(read, comparisons):
        frame = read(comparison.setting.name)
        cells = [
            signed(difference(frame, comparison.arm, comparison.against, score)) for score in FIDS
        ]
        seeds = seeds_in_words(found.num, comparison.failed(read))
        rows.append([comparison.words, *cells, seeds, f"{adjusted:.3f}"])
    head = ["what", "all", "many", "medium", "few", "seeds", "p of all (Holm)"]
    return markdown(head, rows)


def noise_table(read: Read, trained: Mapping[str, Sequence[Arm]]) -> str:
    """Return the spread over trainings beside the interval over samples, by setting and score.

    Args:
        read: returns the table of a setting.
        trained: the arms of each setting, by its name; none where it is not whole.
    """
    rows = []
    for name, arms in trained.items():
        if not arms:
            continue
        setting, frame = SETTINGS[name], read(name)
        baseline = next(arm for arm in arms if arm.name == DDPM.name)
        partners = [arm for arm in arms if arm.name in (EXPONENTIAL.name, STRONG_OWN.name)]
        scores = final_scores(frame, baseline)
        for score in FIDS:
            own = Estimate.of(scores[score])
            if own.num < 2:
                continue
            within = (scores[f"{score} high"] - scores[f"{score} low"]).mean() / 2
            paired = [difference(frame, arm, baseline, score).deviation for arm in partners]
            rows.append(
                [
                    setting.words,
                    score,
                    f"{own.mean:.1f}",
                    f"{own.deviation:.1f}",
                    f"+-{within:.1f}",
                    f"{math.sqrt(2) * own.deviation:.1f}",
                    " and ".join(f"{one:.1f}" for one in paired if not math.isnan(one)) or NONE,
                    f"{detectable(own.deviation * math.sqrt(2 / EIGHT), 2 * EIGHT - 2):.1f}",
                    str(own.num),
                ]
            )
    head = [
        "setting",
        "score",
        "DDPM",
        "sd over seeds",
        "95 % over samples",
        "sd of a difference, other draws",
        "same draws",
        "visible with 8 seeds, other draws",
        "seeds",
    ]
    return markdown(head, rows)


def sizes_table(read: Read) -> str:
    """Return the baseline's scores and their spread over seeds at each number of samples."""
    frame = read(FEW.name)
    rows = []
    own = at_best_omega(rows_of(frame, DDPM))
    own = own[own["images"] == own["images"].max()]
    for count, part in own.groupby("num_samples"):
        cells = [_spread(part, score) for score in FIDS]
        rows.append([f"{count:,}", *cells, str(len(part))])
    return markdown(["N", *FIDS, "seeds"], rows)


def curve_table(read: Read) -> str:
    """Return the baseline's scores over the images seen."""
    frame = read(CURVE.name)
    own = at_best_omega(rows_of(frame, DDPM))
    rows = [
        [
            f"{images:,}",
            *(_spread(part, score) for score in FIDS),
            f"{part['omega'].mean():.2f}",
            str(len(part)),
        ]
        for images, part in own.groupby("images")
    ]
    return markdown(["images seen", *FIDS, "omega", "seeds"], rows)


def _spread(part: pd.DataFrame, score: str) -> str:
    found = Estimate.of(part[score])
    return f"{found.mean:.1f} (sd {found.deviation:.1f})"


def arms_table(read: Read, setting: Setting, arms: Sequence[Arm]) -> str:
    """Return the mean scores of each arm, with what copies of training images there are."""
    frame = read(setting.name)
    seeds, rows = common_seeds(frame, arms), []
    for arm in arms:
        scores = final_scores(frame, arm)
        scores = scores[scores.index.isin(seeds)]
        ratio = scores["grad_ratio"].mean()
        rows.append(
            [
                arm.name,
                *(f"{scores[name].mean():.1f}" for name in FIDS),
                f"{scores['omega'].mean():.2f}{_edge(scores['omega'], setting.omegas_of(arm))}",
                f"{100 * scores['accuracy/few'].mean():.0f} %",
                f"{100 * scores['memorisation/few'].mean():.0f} %",
                _percent(ratio),
                str(len(scores)),
            ]
        )
    head = [
        "arm",
        *FIDS,
        "omega",
        "accuracy/few",
        "memorisation/few",
        "gradient ratio",
        "seeds",
    ]
    return markdown(head, rows)


def omega_table(read: Read, setting: Setting, arm: Arm, against: Arm) -> str:
    """Return an arm less another where both are sampled at the same omega."""
    frame = read(setting.name)
    own, other = (whole_rows(frame, one).set_index(["seed", "omega"]) for one in (arm, against))
    rows = []
    for omega, theirs in other.groupby(level="omega"):
        differences = [own[score] - theirs[score] for score in ("fid/all", "fid/few")]
        cells = [signed(Estimate.of(found)) for found in differences]
        rows.append([f"{omega:g}", f"{theirs['fid/all'].mean():.1f}", *cells, str(len(theirs))])
    head = ["omega", f"fid/all of {against.name}", "less it: fid/all", "fid/few", "seeds"]
    return markdown(head, rows)


def _edge(best: pd.Series, tried: Sequence[float]) -> str:
    """Return a remark where the best omega of most trainings is the largest that was tried."""
    return " (the last tried)" if (best == max(tried)).mean() > 0.5 else ""


def common_seeds(frame: pd.DataFrame, arms: Sequence[Arm]) -> set[int]:
    """Return the seeds with which every arm was trained."""
    seeds = [set(frame.loc[frame["settings"] == arm.key, "seed"]) for arm in arms]
    return set.intersection(*seeds)


def agreement_table(read: Read, setting: Setting, arms: Sequence[Arm]) -> str:
    """Return how the scores at half of the training rank trainings as those at its end do."""
    frame = read(setting.name)
    own = at_best_omega(pd.concat([rows_of(frame, arm) for arm in arms]))
    own = own[own["seed"].isin(common_seeds(frame, arms))]
    own = own[own["num_samples"].isin([setting.num_samples, setting.rung_samples])]
    own = own.sort_values("num_samples").groupby(["settings", "seed", "images"]).tail(1)
    rows = []
    for score in FIDS:
        table = own.pivot_table(index=["seed", "settings"], columns="images", values=score)
        if len(table.columns) < 2:
            continue
        early, late = sorted(table.columns)[-2:]
        table = table.dropna()
        by_seed = [part for _, part in table.groupby(level="seed") if len(part) >= 5]
        within = [float(spearmanr(part[early], part[late]).statistic) for part in by_seed]
        means = table.groupby(level="settings").mean()
        overall = float(spearmanr(means[early], means[late]).statistic)
        rows.append(
            [
                score,
                f"{pd.Series(within).mean():.2f}",
                f"{overall:.2f}",
                f"{_kept(by_seed, early, late)} of {len(by_seed)}",
            ]
        )
    head = ["score", "rank correlation within a seed", "of means", "best arm at the end kept"]
    return markdown(head, rows)


def _kept(parts: Sequence[pd.DataFrame], early: Any, late: Any) -> int:
    """Return in how many seeds the best at the end is in the better half at the rung."""
    found = 0
    for part in parts:
        best = int(part[late].to_numpy().argmin())
        found += bool(part[early].rank().iloc[best] <= math.ceil(len(part) / 2))
    return found


def search_in_words(found: WideSearch) -> str:
    """Return how a study's trials ended, what fresh seeds say, and whether stopping was right."""
    states = found.trials["state"].value_counts()
    counts = ", ".join(f"{number} {str(state).lower()}" for state, number in states.items())
    ended = f"{len(found.trials)} trials: {counts}."
    agreement = f"Rungs against the full score: {found.agreement.conclusion.rstrip('.')}."
    return " ".join([ended, found.confirmation.finding, agreement])


def leaders_table(found: WideSearch) -> str:
    """Return what a study's leaders gained in its search, and then with fresh seeds."""
    trials = {int(trial["number"]): trial for _, trial in found.trials.iterrows()}
    rows = [_leader_row(leader, trials[leader.trial]) for leader in found.confirmation.leaders]
    objective = found.confirmation.objective
    head = ["trial", f"{objective} less the baseline's, searched", "fresh seeds [95 %]", "seeds"]
    return markdown([*head, "constraint kept", "gradient ratio"], rows)


def _leader_row(leader: ConfirmedLeader, trial: "pd.Series[Any]") -> list[str]:
    searched = with_ends(*(trial[f"difference_{end}"] for end in ("value", "low", "high")))
    found = [each for each in (leader.mean, leader.low, leader.high) if each is not None]
    kept = min((one.num_kept for one in leader.constraints), default=None)
    return [
        leader.name,
        f"{searched} over samples",
        with_ends(*found) if found else NONE,
        str(len(leader.by_seed)),
        NONE if kept is None else f"{kept} of {len(leader.by_seed)} seeds",
        _percent(trial[RATIO]),
    ]


def choices_table(found: WideSearch, names: Sequence[str]) -> str:
    """Return the objective less the baseline's in the median of the trials with each choice.

    Args:
        found: the search.
        names: columns of the parameters that are choices.
    """
    trials = found.trials[~found.trials["baseline"]]
    whole = trials[trials["state"] == "COMPLETE"]
    rows = [
        [
            parameter_label(name),
            f"{choice:g}" if isinstance(choice, float) else str(choice),
            str(int((trials[name] == choice).sum())),
            str(len(part)),
            f"{part['difference_value'].median():+.1f}",
            f"{part['difference_value'].min():+.1f}",
        ]
        for name in names
        for choice, part in whole.groupby(name)
    ]
    return markdown(["parameter", "choice", "trials", "complete", "median", "best"], rows)


def _percent(ratio: float) -> str:
    return NONE if math.isnan(ratio) else f"{100 * ratio:.1f} %"


def hours(read: Read, settings: Iterable[str]) -> float:
    """Return the hours of processor time of all trainings of some tables."""
    seconds = 0.0
    for name in settings:
        frame = read(name)
        groups = frame.groupby(["settings", "seed"])
        seconds += float(groups["training_s"].max().sum() + frame["scoring_s"].sum())
    return seconds / 3600


def counts_in_words(outcomes: Iterable[str]) -> str:
    """Return how many claims had each outcome."""
    ordered = sorted(outcomes)
    parts = [f"{len(list(group))} {name}" for name, group in itertools.groupby(ordered)]
    return ", ".join(parts)
