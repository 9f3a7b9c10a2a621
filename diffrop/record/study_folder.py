"""Where everything of a study lies: the names of its files and folders, in one place."""

from dataclasses import dataclass
from pathlib import Path

from diffrop.record.names import parse_label, trial_label
from diffrop.record.trial_folder import TrialFolder


@dataclass(frozen=True)
class StudyFolder:
    """The folder `runs/STUDY`."""

    path: Path

    @property
    def config(self) -> Path:
        """study.yaml: the configuration of the study and the command of its newest launch."""
        return self.path / "study.yaml"

    @property
    def changes(self) -> Path:
        """The changes to the checkout that its newest launch ran with; none without any."""
        return self.path / "changes.diff"

    def changes_of(self, digest: str) -> Path:
        """Return where the changes with a SHA-256 lie once a later launch ran with others."""
        return self.path / f"changes-{digest[:12]}.diff"

    @property
    def launches(self) -> Path:
        """The command of every launch, and what it ran on, as JSON lines."""
        return self.path / "launches.jsonl"

    @property
    def log(self) -> Path:
        """study.log: what every launch said, and the traces of its faults."""
        return self.path / "study.log"

    @property
    def identity(self) -> Path:
        """The token that tells the study from others of its name."""
        return self.path / "identity.json"

    @property
    def database(self) -> Path:
        """Optuna's SQLite database, where no other storage is named."""
        return self.path / "study.db"

    @property
    def trials_table(self) -> Path:
        """The trials as a table, one row each."""
        return self.path / "trials.csv"

    @property
    def front_table(self) -> Path:
        """The scored points as a table, with the Pareto front marked."""
        return self.path / "front.csv"

    @property
    def best(self) -> Path:
        """The exported configuration with its provenance."""
        return self.path / "best.yaml"

    @property
    def reference_scores(self) -> Path:
        """Scores of pure noise and of real images."""
        return self.path / "anchors.json"

    @property
    def cost(self) -> Path:
        """What the study is expected to take, and what it took."""
        return self.path / "plan.json"

    @property
    def rung_agreement(self) -> Path:
        """How far each rung orders trials as the full score does."""
        return self.path / "fidelity.json"

    @property
    def confirmation(self) -> Path:
        """What fresh seeds say of the leaders."""
        return self.path / "confirm.json"

    @property
    def confirmation_lock(self) -> Path:
        """Held by the driver that confirms, and by whoever writes the confirmation's record."""
        return self.path / "confirm.lock"

    @property
    def warm_start(self) -> Path:
        """What the search sampler knew of earlier studies."""
        return self.path / "warm_start.json"

    @property
    def drivers(self) -> Path:
        """One file for each driver, touched while the driver lives."""
        return self.path / "drivers"

    @property
    def preparing(self) -> Path:
        """One file for each process that prepares the study: what it is doing."""
        return self.path / "preparing"

    @property
    def report(self) -> Path:
        """The report as one HTML page."""
        return self.path / "report.html"

    @property
    def figures(self) -> Path:
        """The figures as PNG and SVG."""
        return self.path / "figures"

    @property
    def artifacts(self) -> Path:
        """Optuna's artifacts: the trials' sample grids as optuna-dashboard reads them."""
        return self.path / "artifacts"

    def trial(self, number: int) -> TrialFolder:
        """Return the folder of a trial, which need not exist."""
        return TrialFolder(self.path / "trials" / trial_label(number))

    def trials(self) -> list[TrialFolder]:
        """Return the folders of the trials that have begun, by number."""
        found = (self.path / "trials").glob("t*")
        return [TrialFolder(path) for path in sorted(found) if parse_label(path.name)]

    def retraining(self, number: int, seed: int) -> TrialFolder:
        """Return the folder of a leader's retraining with a fresh seed, which need not exist."""
        return TrialFolder(self.path / "confirm" / trial_label(number, seed))

    def retrainings(self) -> list[TrialFolder]:
        """Return the folders of the retrainings that have begun, by number and seed."""
        found = [TrialFolder(path) for path in (self.path / "confirm").glob("t*-s*")]
        known = [folder for folder in found if parse_label(folder.path.name)]
        return sorted(known, key=lambda folder: (folder.number, folder.seed or 0))

    def prefix(self, training_seed: int) -> TrialFolder:
        """Return the folder of what trials of a training seed fork from; it need not exist."""
        return TrialFolder(self.path / "prefix" / f"seed-{training_seed}")

    def prefixes(self) -> list[TrialFolder]:
        """Return the folders of what trials fork from, those that have begun."""
        return [TrialFolder(path) for path in sorted((self.path / "prefix").glob("seed-*"))]

    @property
    def store(self) -> Path:
        """The trainings of all studies of the runs folder."""
        return self.path.parent / "checkpoints"


def prepared_names(runs_root: Path) -> list[str]:
    """Return the names of the studies that are being prepared, or were when that was killed."""
    return sorted({path.parent.parent.name for path in runs_root.glob("*/preparing/*")})


def study_names(runs_root: Path) -> list[str]:
    """Return the names of the studies in a runs folder."""
    return sorted(path.parent.name for path in runs_root.glob("*/study.yaml"))
