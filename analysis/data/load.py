"""Reads studies into tidy frames; it trains nothing and needs neither ray nor torch.

`load_study` reads a folder and `analysis.data.tracked.load_tracked` an MLflow server;
`load_studies` puts any number of either into one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.data.folders import trial_folder as trial_folder
from analysis.data.tables import GROUPS as GROUPS
from analysis.data.tables import SHOT_GROUPS as SHOT_GROUPS
from analysis.data.tables import (
    mapping,
    read_costs,
    read_curves,
    read_json,
    read_measurements,
    read_trials,
)
from diffrop.schema import flatten, load_yaml

FORMATS = (2, 3)
"""Formats of study.yaml that can be read; the last is the present one."""


@dataclass(frozen=True, eq=False)
class StudyFrames:
    """The results of one study or of several, tidy: every frame names the study in each row."""

    trials: pd.DataFrame
    """One row a trial, by number. Text columns hold "" and numbers NaN or NA where trials.csv is
    empty. `value` is the objective at the trial's best `omega`, of its last score; `images_seen`,
    `rung` and `audited_at` (where the rule would have stopped a trial that ran on) count images,
    `num_samples/GROUP` and `samples_drawn` generated images; `duration_s`, `training_s` and
    `scoring_s` are seconds, `gpus` GPUs. `value_low` and `value_high` end the 95 % interval of
    `value` over samples; `difference_*` is `value` less the baseline's, paired over samples, with
    its interval. `feasible` is NA where the study has no constraints."""
    measurements: pd.DataFrame
    """One row a trial, rung, sampling choice and score: study, number, form, state, images_seen,
    final (False on a rung below the last), omega, score ("fid/few"), value, num_samples (images
    behind that very score; rounded in rounds below the last), round_samples (images over all
    classes in its round of the search for omega), sampler, extractor, reference. Values compare
    at equal num_samples, sampler, extractor and reference alone."""
    curves: pd.DataFrame
    """One row a trial, time and training measure: study, number, images_seen, measure
    ("pcl/grad_ratio"), value."""
    costs: pd.DataFrame
    """One row a part of the work: study, number (NA where trials share it), purpose (full, pruned,
    failed, running, confirmation, shared training), part (training, sampling, features, metrics,
    or scoring and "not split" where no more is known), seconds on the clock, workers, gpus (of all
    its workers)."""


@dataclass(frozen=True, eq=False)
class StudyResults(StudyFrames):
    """All that one study left behind."""

    directory: Path
    """Its folder; of a study read from MLflow, where its figures go, which need not exist."""
    config: dict[str, Any]
    """study.yaml: what was searched, from which experiment."""
    reference_scores: dict[str, Any] = field(default_factory=dict)
    """Scores of pure noise and of real images; empty where the study has none."""
    best: dict[str, Any] = field(default_factory=dict)
    """best.yaml: the exported configuration with its provenance; empty before the export."""
    fidelity: dict[str, Any] = field(default_factory=dict)
    """fidelity.json: whether the rungs rank as the end does; empty before it is known."""
    confirmation: dict[str, Any] = field(default_factory=dict)
    """confirm.json: the leaders trained again; empty without a confirmation."""
    plan: dict[str, Any] = field(default_factory=dict)
    """plan.json: what was planned, and what it took; empty where none was written."""
    warm_start: dict[str, Any] = field(default_factory=dict)
    """warm_start.json: what the sampler knew of earlier studies; empty where that was nothing."""
    front: pd.DataFrame | None = None
    """front.csv: number, omega, sampler, a column a score, feasible, front; None without one."""

    @property
    def name(self) -> str:
        """What the study is called."""
        return str(self.config.get("name") or self.directory.resolve().name)

    @property
    def objectives(self) -> list[str]:
        """The scores that it minimises, such as ["fid/all"]."""
        several = self.setting("evaluation.objectives")
        if isinstance(several, list) and several:
            return [str(name) for name in several]
        return [str(self.setting("evaluation.objective") or "fid/all")]

    @property
    def objective(self) -> str:
        """The score that ranks the trials, such as "fid/all"; lower is better."""
        return self.objectives[0]

    @property
    def space(self) -> list[dict[str, Any]]:
        """What was searched: one entry a parameter, with name, choices or low and high, source."""
        space = self.config.get("space") or []
        return list(space.get("parameters") or []) if isinstance(space, dict) else list(space)

    def folder(self, number: int) -> Path:
        """Return the folder of one trial."""
        return trial_folder(self.directory, number)

    def setting(self, key: str) -> Any:
        """Return one value of the study's base experiment by its dotted key, None if not there."""
        return flatten(self.config["experiment"]).get(key)


def load_study(directory: Path) -> StudyResults:
    """Read a study's folder.

    Raises:
        ValueError: the folder is no study, or one of its files cannot be read.
    """
    directory = Path(directory)
    config = _study_config(directory)
    base_form = flatten(config["experiment"]).get("contrastive.form")
    name = str(config.get("name") or directory.resolve().name)
    trials = read_trials(directory / "trials.csv", name, str(base_form or ""))
    best = directory / "best.yaml"
    return StudyResults(
        directory=directory,
        config=config,
        trials=trials,
        measurements=read_measurements(directory, trials),
        curves=read_curves(directory, trials),
        costs=read_costs(directory, trials),
        reference_scores=_optional_json(directory / "anchors.json"),
        best=mapping(load_yaml(best), best) if best.is_file() else {},
        fidelity=_optional_json(directory / "fidelity.json"),
        confirmation=_optional_json(directory / "confirm.json"),
        plan=_optional_json(directory / "plan.json"),
        warm_start=_optional_json(directory / "warm_start.json"),
        front=_front(directory / "front.csv"),
    )


def load_studies(studies: Sequence[StudyResults | Path | str]) -> StudyFrames:
    """Put several studies into one set of frames.

    Args:
        studies: folders, or studies already loaded from a folder or from MLflow.

    Raises:
        ValueError: there is none, one cannot be read, or two have the same name.
    """
    loaded = [s if isinstance(s, StudyResults) else load_study(Path(s)) for s in studies]
    if not loaded:
        raise ValueError(
            "no study was named; allowed: one folder at least, such as runs/tau-sweep"
        )
    names = [study.name for study in loaded]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"two studies are called {twice!r}; allowed: each once")
    return StudyFrames(
        trials=_stacked([study.trials for study in loaded]),
        measurements=_stacked([study.measurements for study in loaded]),
        curves=_stacked([study.curves for study in loaded]),
        costs=_stacked([study.costs for study in loaded]),
    )


def _stacked(frames: list[pd.DataFrame]) -> pd.DataFrame:
    """One below the other; frames without a row would turn the types of the others."""
    filled = [frame for frame in frames if len(frame)]
    return pd.concat(filled, ignore_index=True) if filled else frames[0]


def _study_config(directory: Path) -> dict[str, Any]:
    path = directory / "study.yaml"
    if not path.is_file():
        known = sorted(found.parent.name for found in directory.glob("*/study.yaml"))
        hint = f"; allowed: one of its folders {', '.join(known)}" if known else ""
        raise ValueError(f"{directory} is no study: it holds no study.yaml{hint}")
    config = mapping(load_yaml(path), path)
    if config.get("format") not in FORMATS:
        allowed = ", ".join(map(str, FORMATS))
        raise ValueError(f"{path} has format {config.get('format')!r}; allowed: {allowed}")
    mapping(config.get("experiment"), f"experiment of {path}")
    if not (directory / "trials.csv").is_file():
        raise ValueError(f"{directory} has no results yet: it holds no trials.csv")
    return config


def _optional_json(path: Path) -> dict[str, Any]:
    return read_json(path) if path.is_file() else {}


def _front(path: Path) -> pd.DataFrame | None:
    if not path.is_file():
        return None
    try:
        front = pd.read_csv(path, keep_default_na=False, na_values=[""])
    except (OSError, ValueError) as error:
        raise ValueError(f"cannot read {path}: {' '.join(str(error).split())}") from error
    missing = [name for name in ("number", "sampler", "feasible", "front") if name not in front]
    if missing:
        raise ValueError(f"{path} has no column {missing[0]!r}, so it is no Pareto front")
    return front
