"""A study of the platform over the wide space: how it is run, and what of it is kept.

Everything that could move FID is searched at once, few-shot classes first, by forks and rungs; the
leaders are then trained again with fresh seeds. Its report is in the runs folder, where it was
made; kept are a table of its trials, and the records of its confirmation and of its rungs.
"""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from benchmarks.evidence import table
from diffrop.analysis.data.load import load_study
from diffrop.record.confirmation import ConfirmationRecord
from diffrop.record.json_files import read_record
from diffrop.record.rung_agreement import AgreementRecord
from diffrop.record.study_folder import StudyFolder

STAGE = "search"
QUESTION = "Does anything in the wide space help the few-shot classes?"
NAME = "wide-search"
"""The study's, and the kept folder's."""
SPACE = Path(__file__).parents[1] / "spaces" / "wide.yaml"
NUM_TRIALS, NUM_LEADERS, NUM_SEEDS = 32, 2, 8
OPTIONS = (
    *("--imbalance-factor", "0.05", "--images", "40960"),
    *("--omegas", "0,0.5,0.75,1,1.5,2.5", "--num-samples", "1000"),
    *("--objective", "fid/few", "--constraint", "fid/many <= baseline + 5%"),
    *("--trials", str(NUM_TRIALS), "--fork-from", "baseline@10240"),
    *("--first-rung", "20480", "--rung-samples", "500", "--audit-fraction", "0.25"),
    *("--confirm", str(NUM_LEADERS), "--seeds", str(NUM_SEEDS)),
)
TRIALS = "trials.csv"
"""Of the kept files; the others have the study's own names."""
RATIO = "pcl/grad_ratio"


@dataclass(frozen=True)
class WideSearch:
    """What the study found."""

    trials: pd.DataFrame
    """A row a trial: the columns of trials.csv that say what it was and how it scored, and
    `pcl/grad_ratio`, in the mean over the training."""
    confirmation: ConfirmationRecord
    """Of its leaders, over fresh seeds."""
    agreement: AgreementRecord
    """How far the rung ordered its trials as their ends do."""


def command(runs_root: Path) -> list[str]:
    """Return the command of the study, which goes on if it was begun."""
    begun = StudyFolder(runs_root / NAME).config.exists()
    words = ["study", "method", "--study-name", NAME, "--space", str(SPACE), *OPTIONS]
    return [*words, "--runs-root", str(runs_root), *(["--resume"] if begun else [])]


def run(runs_root: Path, folder: Path) -> None:
    """Run the study to its end, and keep what it found.

    Args:
        runs_root: of the study.
        folder: that of the tables; the kept files lie in a folder of their own there.

    Raises:
        subprocess.CalledProcessError: the study failed or was stopped.
    """
    subprocess.run([sys.executable, "-m", "diffrop", *command(runs_root)], check=True)
    keep(StudyFolder(runs_root / NAME), folder / NAME)


def keep(study: StudyFolder, folder: Path) -> None:
    """Write the table of a study's trials, and copy its confirmation and its rungs' agreement."""
    loaded = load_study(study.path)
    curves = loaded.curves[loaded.curves["measure"] == RATIO]
    ratios = curves.groupby("number")["value"].mean().rename(RATIO)
    trials = loaded.trials.drop(columns=["study", "message", "training_key"])
    folder.mkdir(parents=True, exist_ok=True)
    kept = trials.merge(ratios, how="left", left_on="number", right_index=True)
    kept.round(4).to_csv(folder / TRIALS, index=False, lineterminator="\n")
    for path in (study.confirmation, study.rung_agreement):
        shutil.copyfile(path, folder / path.name)


def read(folder: Path = table.FOLDER) -> WideSearch | None:
    """Return what was kept; None where the study has not been run to its end.

    Args:
        folder: that of the tables.
    """
    kept = StudyFolder(folder / NAME)
    confirmation = read_record(kept.confirmation, ConfirmationRecord)
    agreement = read_record(kept.rung_agreement, AgreementRecord)
    if confirmation is None or agreement is None:
        return None
    return WideSearch(pd.read_csv(kept.path / TRIALS), confirmation, agreement)
