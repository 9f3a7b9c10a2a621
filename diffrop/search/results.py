"""The results of a study: one row a trial, ranked, as a table, CSV and best.yaml."""

import dataclasses
import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import yaml
from optuna.trial import FrozenTrial
from rich.table import Table

from diffrop.metrics.intervals import Interval
from diffrop.provenance import git_commit, package_versions
from diffrop.search.config import StudyConfig
from diffrop.search.scoring import ScoreCard
from diffrop.search.store import StudyStore
from diffrop.search.trial import read_scores
from diffrop.storage import write_atomically

REPORTED_GROUPS = ("all", "many", "medium", "few")
CONTRASTIVE_COLUMNS = {
    "contrastive.tau_0": "tau_0",
    "contrastive.decay_temperature": "decay_temperature",
    "contrastive.margin": "margin",
}


@dataclass(frozen=True, kw_only=True)
class TrialResult:
    """What is known of one trial."""

    number: int
    state: str
    """RUNNING, COMPLETE, PRUNED or FAIL."""
    values: dict[str, Any]
    """Searched keys with their values; the baseline has {"contrastive.form": "none"}."""
    directory: Path
    card: ScoreCard | None
    """The newest score that was reported."""
    duration_s: float
    message: str
    rank: int | None = None
    """Among COMPLETE trials, by the objective."""

    @property
    def form(self) -> str:
        """The form of the loss."""
        return str(self.values.get("contrastive.form", "-"))

    @property
    def name(self) -> str:
        """The trial in words, such as "t007 reciprocal tau_0=3.2"."""
        tau_0 = self.values.get("contrastive.tau_0")
        strength = "" if tau_0 is None else f" tau_0={tau_0:.3g}"
        return f"t{self.number:03d} {self.form}{strength}"

    def row(self, config: StudyConfig) -> dict[str, Any]:
        """Return the trial as a row of trials.csv."""
        row: dict[str, Any] = {
            "number": self.number,
            "name": self.name,
            "state": self.state,
            "rank": self.rank,
            "baseline": self.number == 0,
            "form": self.form,
        }
        for key, column in CONTRASTIVE_COLUMNS.items():
            row[column] = self.values.get(key)
        searched = (parameter.name for parameter in config.space.parameters)
        known = {"contrastive.form", *CONTRASTIVE_COLUMNS}
        row |= {key: self.values.get(key) for key in searched if key not in known}
        row |= {"value": None, "omega": None}
        if self.card is not None:
            card = self.card
            row |= {"value": card.value, "omega": card.omega, **card.scores}
            row |= {f"num_samples/{group}": n for group, n in card.num_samples.items()}
            row |= {"images_seen": card.images_seen, "rung": card.images_seen}
            ends = card.intervals.get(card.objective, {})
            row |= {f"value_{end}": ends.get(end) for end in ("low", "high")}
            row |= {"sampler": card.sampler, "extractor": card.extractor}
            row |= {"reference": card.reference}
        return row | {"duration_s": round(self.duration_s, 1), "message": self.message}


@dataclass(frozen=True)
class StudyResult:
    """All trials of a study, in order of number."""

    config: StudyConfig
    trials: list[TrialResult] = field(default_factory=list)
    differences: Mapping[int, Interval] = field(default_factory=dict)
    """By number, each ranked trial's objective less the baseline's; see `with_differences`."""

    @property
    def ranked(self) -> list[TrialResult]:
        """COMPLETE trials, best first."""
        complete = [trial for trial in self.trials if trial.rank is not None]
        return sorted(complete, key=lambda trial: trial.rank or 0)

    @property
    def frame(self) -> pd.DataFrame:
        """One row a trial; see `TrialResult.row`."""
        return pd.DataFrame([trial.row(self.config) | self._ends(trial) for trial in self.trials])

    def _ends(self, trial: TrialResult) -> dict[str, float | None]:
        """Return the difference to the baseline with its interval, as columns."""
        known = self.differences.get(trial.number)
        names = ("value", "low", "high")
        return {
            f"difference_{name}": None if known is None else getattr(known, name) for name in names
        }


def collect(study: optuna.Study, store: StudyStore, config: StudyConfig) -> StudyResult:
    """Read a study's trials from Optuna and their scores from disk, and rank them."""
    trials = [_result(frozen, store) for frozen in study.get_trials(deepcopy=False)]
    complete = [t for t in trials if t.state == "COMPLETE" and t.card is not None]
    complete.sort(key=lambda t: (t.card.value if t.card else 0.0, t.number))
    ranks = {trial.number: rank for rank, trial in enumerate(complete, start=1)}
    ranked = [dataclasses.replace(trial, rank=ranks.get(trial.number)) for trial in trials]
    return StudyResult(config, ranked)


def _result(frozen: FrozenTrial, store: StudyStore) -> TrialResult:
    directory = store.trial_directory(frozen.number)
    reached = max(frozen.intermediate_values, default=0)
    # A worker group may have scored once more before it was stopped: that was never reported.
    cards = [card for card in read_scores(directory) if card.images_seen <= reached]
    start = frozen.datetime_start or datetime.datetime.now()
    end = frozen.datetime_complete or datetime.datetime.now()
    baseline = {"contrastive.form": "none"} if frozen.number == 0 else {}
    return TrialResult(
        number=frozen.number,
        state=frozen.state.name,
        values={**baseline, **frozen.params},
        directory=directory,
        card=cards[-1] if cards else None,
        duration_s=(end - start).total_seconds(),
        message=frozen.user_attrs.get("message", ""),
    )


def write_results(result: StudyResult, store: StudyStore) -> list[Path]:
    """Write trials.csv, and best.yaml if a trial is COMPLETE; return the files written."""
    table = store.path / "trials.csv"
    write_atomically(table, result.frame.to_csv(index=False))
    if not result.ranked:
        return [table]
    best = store.path / "best.yaml"
    write_atomically(best, yaml.safe_dump(export(result), sort_keys=False))
    return [table, best]


def export(result: StudyResult) -> dict[str, Any]:
    """Return the best configuration with its provenance, as best.yaml holds it."""
    best, config = result.ranked[0], result.config
    assert best.card is not None
    experiment = config.experiment.with_values(best.values)
    baseline = result.trials[0].card if result.trials[0].rank is not None else None
    difference = result.differences.get(best.number)
    return {
        "format": 1,
        "config": experiment.to_dict(),
        "omega": best.card.omega,
        "provenance": {
            "study": config.name,
            "trial": best.number,
            "num_trials": len(result.trials),
            "searched": [parameter.to_dict() for parameter in config.space.parameters],
            "objective": best.card.objective,
            "value": best.card.value,
            "baseline_value": baseline.value if baseline else None,
            "difference": difference.to_dict() if difference else None,
            "scores": best.card.scores,
            "intervals": best.card.intervals,
            "num_samples": best.card.num_samples,
            "images_seen": best.card.images_seen,
            "sampler": best.card.sampler,
            "extractor": best.card.extractor,
            "reference": best.card.reference,
            "seeds": {
                "training": experiment.training.seed,
                "samples": experiment.evaluation.seed,
                "search": config.seed,
            },
            "note": "intervals are over samples: one training seed, and the best of its study",
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "git_commit": git_commit(),
            "versions": package_versions(),
        },
    }


def results_table(result: StudyResult) -> Table:
    """Return the ranked table for the terminal; it fits 80 columns.

    Only COMPLETE trials have FIDs here: the others were scored on fewer images, if at all.
    """
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    table.add_column("#", justify="right", min_width=2)
    table.add_column("form", no_wrap=True)
    for heading in ("tau_0", "decay", "margin", "omega", "all", "many", "medium", "few"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("state", no_wrap=True)
    unranked = [trial for trial in result.trials if trial.rank is None]
    for trial in [*result.ranked, *unranked]:
        form = "baseline" if trial.number == 0 else trial.form
        settings = [trial.values.get(key) for key in CONTRASTIVE_COLUMNS]
        card = trial.card if trial.rank is not None else None
        fids = [card.scores.get(f"fid/{group}") if card else None for group in REPORTED_GROUPS]
        table.add_row(
            str(trial.rank or ""),
            form,
            *(_short(value, ".3g") for value in settings[:2]),
            _short(settings[2], ".4g"),
            _short(card.omega if card else None, "g"),
            *(_short(fid, ".2f" if fid is not None and fid < 1000 else ".0f") for fid in fids),
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
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    table.add_column("metric", no_wrap=True)
    for group in REPORTED_GROUPS:
        table.add_column(group, justify="right", no_wrap=True)
    scores = card.scores
    for metric in dict.fromkeys(name.partition("/")[0] for name in scores):
        cells = []
        for group in REPORTED_GROUPS:
            name = f"{metric}/{group}"
            ends = card.intervals.get(name) if metric == "fid" else None
            width = f" +-{(ends['high'] - ends['low']) / 2:.3g}" if ends else ""
            cells.append(_short(scores.get(name), ".4g") + width)
        table.add_row(metric, *cells)
    return table


def scale(result: StudyResult, anchors: Mapping[str, Any]) -> list[str]:
    """Return what the FIDs can be held against: real images, noise, and asked labels."""
    lines = []
    if anchors:
        real, noise = anchors["real"], anchors["noise"]
        lines.append(
            f"For scale, fid/all of real images is {real['scores']['fid/all']:.2f} "
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
    lines = _comparison(result)
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
            f"The baseline's {card.objective} is {card.value:.2f}, [{ends['low']:.2f}, "
            f"{ends['high']:.2f}] with 95% confidence over samples."
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


def _short(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _state(trial: TrialResult) -> str:
    """The state; for a stopped trial with the rung that it reached, as in "PRUNED 10k"."""
    if trial.state != "PRUNED" or trial.card is None:
        return trial.state
    images = trial.card.images_seen
    if images < 1_000:
        return f"PRUNED {images}"
    return f"PRUNED {images / 1e3:.0f}k" if images < 1e6 else f"PRUNED {images / 1e6:.1f}M"
