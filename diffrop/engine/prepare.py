"""What is checked and made before a study starts: its store, data, extractor and reference."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from diffrop.activity import Tell, untold
from diffrop.config import EvaluationConfig
from diffrop.data import Dataset, LabelledImages, load_dataset
from diffrop.engine.preparing import Preparing
from diffrop.errors import StudyError
from diffrop.execution import cluster
from diffrop.execution.tasks import check_forks
from diffrop.metrics.extractors import check_extractor, make_extractor
from diffrop.metrics.features import FeatureExtractor, cached_features
from diffrop.metrics.reference import LabelledFeatures, Reference
from diffrop.record.study_store import StudyStore
from diffrop.scoring.reference_scores import measure_reference_scores
from diffrop.scoring.samples import ScoringInputs
from diffrop.scoring.score import check_scorable
from diffrop.search.warm_start import WarmStart, gather
from diffrop.storage import RemoteMirror
from diffrop.study.config import LaunchConfig, StudyConfig
from diffrop.tracking.launch import check_tracking
from diffrop.training.network import check_batch_fits_workers, check_network


@dataclass(frozen=True)
class PreparedStudy:
    """A study that was checked, with what its trials share."""

    store: StudyStore
    inputs: ScoringInputs
    reference_scores: dict[str, Any]
    warm_start: WarmStart = field(default_factory=lambda: WarmStart((), ()))
    """What earlier studies know."""


def check_study(
    config: StudyConfig, launch: LaunchConfig, tell: Tell = untold
) -> tuple[StudyStore, Dataset]:
    """Check everything that can be checked before anything is started or written.

    The configuration is that of a command line, so that an extractor of one's own is imported.

    Raises:
        ValueError: the configuration does not fit the data or the workers.
        StudyError: the study's name or state forbids it.
        ResourceError: a local cluster is too small for one trial.
        StorageError: the remote storage is out of reach or refuses.
    """
    store = check_launch(config, launch)
    return store, check_data(config, tell)


def check_launch(
    config: StudyConfig, launch: LaunchConfig, preparing: Preparing | None = None
) -> StudyStore:
    """Check what needs no data, which takes no time; raises as `check_study`.

    Args:
        config: the study.
        launch: how it runs this time.
        preparing: by which this process may be seen to prepare it already.
    """
    store = StudyStore(Path(launch.runs_root), config.name)
    preparing = preparing or Preparing(store.folder)
    if preparing.others():
        raise StudyError(
            f"study {config.name!r} is being prepared by another process. To fix: wait until it "
            "runs, stop it, or name another study with --study-name"
        )
    if launch.resume and launch.storage_path is not None and not store.path.exists():
        RemoteMirror(launch.storage_path, store.path.parent).pull(store.path)
    store.check(config, launch, unclaimed=preparing.is_unclaimed)
    check_tracking(launch)
    for experiment in (config.experiment, *config.space.corners(config.experiment)):
        check_batch_fits_workers(experiment, launch.workers_per_trial)
    check_extractor(config.experiment.evaluation.extractor, trusted=True)
    cluster.check_this_machine(launch)
    if launch.storage_path is not None:
        RemoteMirror(launch.storage_path, store.path.parent).check()
    return store


def check_data(config: StudyConfig, tell: Tell = untold) -> Dataset:
    """Load a study's data, and check what needs them; raises as `check_study`."""
    dataset = load_dataset(config.experiment.data, tell)
    samples = [rung.num_samples for rung in config.rungs]
    check_scorable(config.experiment, dataset, samples)
    check_network(config.experiment, dataset)
    check_forks(config, dataset)
    return dataset


def prepare(
    config: StudyConfig, launch: LaunchConfig, store: StudyStore, tell: Tell = untold
) -> PreparedStudy:
    """Load a study's data, and make what scores its trials, before Ray starts.

    Args:
        config: the study.
        launch: how it runs this time.
        store: of `check_launch`, for both.
        tell: is told how far it is.

    Raises:
        ValueError: the configuration does not fit the data, or weights or packages of the
            extractor are missing.
    """
    dataset = check_data(config, tell)
    evaluation, root = config.experiment.evaluation, store.path.parent
    inputs, reference_scores = scoring_inputs(evaluation, dataset, root, trusted=True, tell=tell)
    known = WarmStart((), ())
    if not launch.resume:  # a resumed study remembers
        known = gather(config, store.path.parent, fingerprints_of(inputs), launch.storage)
    return PreparedStudy(store, inputs, reference_scores, known)


def fingerprints_of(inputs: ScoringInputs) -> dict[str, str]:
    """Return what scores depend on beside the configuration, for later launches and studies."""
    return {
        "data_digest": inputs.dataset.train_digest,
        "reference_digest": inputs.dataset.reference_digest,
        "extractor": inputs.extractor.name,
        "reference": inputs.reference.name,
    }


def scoring_inputs(
    evaluation: EvaluationConfig,
    dataset: Dataset,
    runs_root: Path,
    *,
    trusted: bool = False,
    tell: Tell = untold,
) -> tuple[ScoringInputs, dict[str, Any]]:
    """Make the extractor, the reference fits and the reference_scores; what can be is cached.

    Args:
        evaluation: names the extractor.
        dataset: what is scored against.
        runs_root: folder whose cache is used.
        trusted: see `make_extractor`.
        tell: is told how far it is.

    Raises:
        ValueError: weights or packages of the extractor are missing.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    cache = runs_root / ".cache"
    source = evaluation, dataset.reference, dataset.name, cache
    extractor = make_extractor(*source, trusted=trusted, tell=tell)
    reference = fit_reference(extractor, dataset, cache, device, tell)
    made = dataset, extractor, reference, evaluation, device
    reference_scores = measure_reference_scores(*made, tell)
    extractor.network.to("cpu")  # it travels to the trials
    return ScoringInputs(dataset, extractor, reference), reference_scores


def fit_reference(
    extractor: FeatureExtractor,
    dataset: Dataset,
    cache: Path,
    device: torch.device,
    tell: Tell = untold,
) -> Reference:
    """Fit the data set's reference images, and take up its training and held-out images."""

    def labelled(images: LabelledImages) -> LabelledFeatures:
        return cached_features(extractor, images, cache, device, tell), images.labels

    of_reference, of_training = labelled(dataset.reference), labelled(dataset.train)
    heldout = labelled(dataset.heldout) if dataset.heldout is not None else None
    tell("fitting the reference", None)
    return Reference.fit(
        *of_reference,
        dataset.shot_groups,
        name=dataset.reference_name,
        training=of_training,
        heldout=heldout,
    )
