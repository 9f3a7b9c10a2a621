"""Reads studies into tidy frames; it trains nothing and needs neither ray nor torch.

`load_study` reads a folder or a study in MLflow alike; `load_studies` puts any number of either
into one set of frames.
"""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from diffrop.analysis.data.tracked import download, split_address
from diffrop.record.confirmation import ConfirmationRecord
from diffrop.record.cost import CostRecord
from diffrop.record.cost_account import CostAccount, CostEntry
from diffrop.record.exported_config import read_export
from diffrop.record.json_files import read_record
from diffrop.record.kinds import file_of, name_damage, read_stored
from diffrop.record.names import trial_label
from diffrop.record.reference_scores import read_reference_scores
from diffrop.record.rung_agreement import AgreementRecord
from diffrop.record.settings import config_of, read_settings
from diffrop.record.study_folder import StudyFolder
from diffrop.record.tables import (
    costs_frame,
    curves_frame,
    measurements_frame,
    read_front,
    read_trials,
)
from diffrop.record.trial_folder import TrialFolder
from diffrop.record.warm_start import WarmStartRecord
from diffrop.redaction import redact
from diffrop.schema import flatten
from diffrop.study.config import StudyConfig


@dataclass(frozen=True, eq=False)
class StudyFrames:
    """The results of one study or of several, tidy: every frame names the study in each row."""

    trials: pd.DataFrame
    """One row a trial, by number. Text columns hold "" and numbers NaN or NA where trials.csv is
    empty. `value` is the objective at the trial's best `omega`, of its last score; `images_seen`,
    `rung` and `audited_at` (where the rule would have stopped a trial that ran on) count images,
    `num_samples/GROUP` and `samples_drawn` generated images, `evaluations` those of the network
    for one image, guidance included (NFE; NA for scores of earlier versions); `duration_s`,
    `training_s` and `scoring_s` are seconds, `gpus` GPUs. `value_low` and `value_high` end the
    95 % interval of `value` over samples; `difference_*` is `value` less the baseline's, paired
    over samples, with its interval, and `difference_*/fid/GROUP` the same of a shot group's FID.
    `feasible` is NA where the study has no constraints."""
    measurements: pd.DataFrame
    """One row a trial, rung, sampling choice and score: study, number, form, state, images_seen,
    final (False on a rung below the last), omega, score ("fid/few"), value, num_samples (images
    behind that very score; rounded in rounds below the last), round_samples (images over all
    classes in its round of the search for omega), sampler, evaluations (NFE), extractor,
    reference. Values compare at equal num_samples, sampler, extractor and reference alone."""
    curves: pd.DataFrame
    """One row a trial, time and training measure: study, number, images_seen, measure
    ("pcl/grad_ratio"), value."""
    costs: pd.DataFrame
    """One row an entry of the cost account: study, number (NA for what trials fork from), purpose
    (full, pruned, failed, running, confirmation, shared training), part (training, sampling,
    features, metrics), seconds of wall clock, workers, gpus (over all workers), samples (drawn; 0
    but for sampling). A training that several trials share is counted at the first of them."""


@dataclass(frozen=True, eq=False)
class StudyResults(StudyFrames):
    """All that one study left behind."""

    directory: Path
    """Its folder; of a study read from MLflow, the one that it was downloaded into."""
    config: dict[str, Any]
    """study.yaml: what was searched, from which experiment."""
    reference_scores: dict[str, Any] = field(default_factory=dict)
    """Scores of pure noise and of real images; empty where the study has none."""
    best: dict[str, Any] = field(default_factory=dict)
    """best.yaml: the exported configuration with its provenance; empty before the export."""
    agreement: AgreementRecord | None = None
    """Whether the rungs rank as the end does; None before it is known."""
    confirmation: ConfirmationRecord | None = None
    """What the leaders scored when they were trained again; None without a confirmation."""
    cost: CostRecord | None = None
    """What was planned, and what it took; None where none was written."""
    warm_start: tuple[str, ...] = ()
    """What the sampler knew of earlier studies, a sentence each."""
    front: pd.DataFrame | None = None
    """front.csv: number, omega, sampler, num_samples (over all classes), extractor, reference and
    images_seen (as far as it says them), a column a score, feasible (NA where that is unknown),
    front; None without one."""
    trusted: bool = False
    """Whether an extractor of one's own that study.yaml names may be called: it is code."""
    address: str = ""
    """What it was read from, without passwords: its folder, or TRACKING_URI#NAME."""

    @property
    def name(self) -> str:
        """What the study is called."""
        return str(self.config["name"])

    @property
    def objectives(self) -> list[str]:
        """The scores that it minimises, such as ["fid/all"]."""
        return [str(name) for name in self.setting("evaluation.objectives")]

    @property
    def objective(self) -> str:
        """The score that ranks the trials, such as "fid/all"; lower is better."""
        return self.objectives[0]

    @property
    def space(self) -> list[dict[str, Any]]:
        """What was searched: one entry a parameter, with name, choices or low and high, source."""
        return list(self.config["space"]["parameters"])

    def folder(self, number: int) -> TrialFolder:
        """Return the folder of one trial."""
        return StudyFolder(self.directory).trial(number)

    def setting(self, key: str) -> Any:
        """Return one value of the study's base experiment by its dotted key, None if not there."""
        return flatten(self.config["experiment"]).get(key)


def load_study(
    study: Path | str, *, directory: Path | None = None, trusted: bool = False
) -> StudyResults:
    """Read a study from where it is. A warning names what is damaged and left out.

    Args:
        study: its folder. A study that was mirrored into MLflow is "TRACKING_URI#NAME", such as
            "sqlite:////path/mlflow.db#tau" or "http://mlflow:5000#tau": its tables, records and
            newest sample grids are downloaded, its weights are not.
        directory: for the files of a study in MLflow, an empty or new folder; a temporary one that
            this process removes at its end, if None.
        trusted: whether an extractor of one's own that the study names may be called.

    Raises:
        ValueError: the folder is no study, or its trials.csv is missing or damaged; or MLflow does
            not answer, or has no such study, or several of the name, which the message lists.
        StudyError: study.yaml or confirm.json is damaged.
        NewerFormatError: a later version wrote one of its files.
    """
    tracked = split_address(study)
    folder = StudyFolder(download(*tracked, directory) if tracked else Path(study))
    settings = read_settings(folder)
    config = config_of(folder, settings)
    if not os.path.lexists(folder.trials_table):
        raise ValueError(f"{folder.path} has no results yet: it holds no trials.csv")
    experiment = config.experiment
    trials = _read_trials(folder, config)
    warm_start = read_record(folder.warm_start, WarmStartRecord)
    cost = read_record(folder.cost, CostRecord)
    return StudyResults(
        directory=folder.path,
        config=settings | config.to_dict(),
        trials=trials,
        measurements=measurements_frame(folder, trials),
        curves=curves_frame(
            folder, trials, experiment.training.log_every_images, config.rungs[-1].images
        ),
        costs=costs_frame(_costs(folder, config, cost), trials),
        reference_scores=read_stored(folder.reference_scores, read_reference_scores) or {},
        best=read_stored(folder.best, read_export) or {},
        agreement=read_record(folder.rung_agreement, AgreementRecord),
        confirmation=read_record(folder.confirmation, ConfirmationRecord),
        cost=cost,
        warm_start=warm_start.notes if warm_start else (),
        front=_read_front(folder, experiment.evaluation.objectives),
        trusted=trusted,
        address=redact(str(study)),
    )


def _read_trials(folder: StudyFolder, config: StudyConfig) -> pd.DataFrame:
    """Read trials.csv; a warning names trials that have a folder and no row."""
    path = folder.trials_table
    try:
        trials = read_trials(path, config.name, config.experiment.contrastive.form)
    except ValueError as error:
        raise ValueError(f"{error}. To fix: remove it; {file_of(path).damaged}") from error
    left_out = {trial.number for trial in folder.trials()} - set(trials["number"])
    if left_out:
        names = ", ".join(trial_label(number) for number in sorted(left_out))
        name_damage(path, f"it has no row of {names}")
    return trials


def _read_front(folder: StudyFolder, objectives: Sequence[str]) -> pd.DataFrame | None:
    front = read_stored(folder.front_table, read_front)
    absent = [name for name in objectives if front is not None and name not in front]
    if absent:
        name_damage(folder.front_table, f"it has no column {', '.join(absent)}")
        return None
    return front


def _costs(
    folder: StudyFolder, config: StudyConfig, cost: CostRecord | None
) -> Sequence[CostEntry]:
    """Return the cost account; nothing while it is unknown when the study began."""
    if cost is None and os.path.lexists(folder.cost):
        return ()
    began = 0.0 if cost is None else cost.began
    return CostAccount.of(folder, began, config.prefix_images).entries()


def load_studies(studies: Sequence[StudyResults | Path | str]) -> StudyFrames:
    """Put several studies into one set of frames.

    Args:
        studies: as `load_study` takes them, or already loaded.

    Raises:
        ValueError: there is none, one cannot be read, or one is there twice.
    """
    loaded = told_apart([s if isinstance(s, StudyResults) else load_study(s) for s in studies])
    if not loaded:
        raise ValueError(
            "no study was named; allowed: one folder at least, such as runs/tau-sweep"
        )
    return StudyFrames(
        trials=_stacked([study.trials for study in loaded]),
        measurements=_stacked([study.measurements for study in loaded]),
        curves=_stacked([study.curves for study in loaded]),
        costs=_stacked([study.costs for study in loaded]),
    )


def told_apart(studies: Sequence[StudyResults]) -> list[StudyResults]:
    """Return studies under names of their own: those of one name also say where they are.

    Raises:
        ValueError: one is there twice.
    """
    names = Counter(study.name for study in studies)
    found = [
        _renamed(study, f"{study.name} ({study.address})") if names[study.name] > 1 else study
        for study in studies
    ]
    [(name, count), *_] = Counter(study.name for study in found).most_common(1) or [("", 0)]
    if count > 1:
        raise ValueError(f"the study {name!r} is there twice; allowed: each once")
    return found


def _renamed(study: StudyResults, name: str) -> StudyResults:
    return replace(
        study,
        config=study.config | {"name": name},
        trials=study.trials.assign(study=name),
        measurements=study.measurements.assign(study=name),
        curves=study.curves.assign(study=name),
        costs=study.costs.assign(study=name),
    )


def _stacked(frames: list[pd.DataFrame]) -> pd.DataFrame:
    """One below the other; frames without a row would turn the types of the others."""
    filled = [frame for frame in frames if len(frame)]
    return pd.concat(filled, ignore_index=True) if filled else frames[0]
