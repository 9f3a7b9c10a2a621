"""Running a table: each row in its own folder, finished ones read from it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from diffrop.activity import Tell, untold
from diffrop.baselines.augmentation import (
    TableRow,
    check_same_data,
    generated_images,
    joined,
    training_set_row,
)
from diffrop.checkpoint_file import read_checkpoint
from diffrop.data import load_dataset
from diffrop.data.held_out import SplitDataset, load_split
from diffrop.engine.drivers import hold
from diffrop.engine.final_training import train_final
from diffrop.engine.prepare import scoring_inputs
from diffrop.engine.progress import Screen
from diffrop.errors import DiffropError
from diffrop.execution import cluster
from diffrop.metrics.protocol import check_comparable
from diffrop.record.json_files import read_json, write_json
from diffrop.record.kinds import read_stored
from diffrop.record.score_card import ScoreCard
from diffrop.record.trial_folder import TrialFolder
from diffrop.scoring.samples import ScoringInputs
from diffrop.scoring.score import check_scorable
from diffrop.storage import write_atomically
from diffrop.study.config import LaunchConfig
from diffrop.tables.plan import ROW_FILE, TablePlan
from diffrop.tracking.launch import check_tracking
from diffrop.training.network import check_batch_fits_workers, check_network

CLASSIFIER_FILE = "classifier.json"


@dataclass(frozen=True)
class RowResult:
    """What is known of one row."""

    row: str
    card: ScoreCard | None
    """The score of its generative model; None where it has none, or it failed."""
    classification: dict[str, Any] | None = None
    """Table 3: the stored `TableRow`."""
    failure: str = ""
    """Empty, or one sentence."""


@dataclass(frozen=True)
class TableInputs:
    """What the rows of a table share."""

    scoring: ScoringInputs | None
    """None where no row has a generative model."""
    split: SplitDataset | None
    """The held-out images of Table 3; None for the other tables."""


def check_table(plan: TablePlan, launch: LaunchConfig, tell: Tell = untold) -> None:
    """Check data, networks, workers and stores of every row, before anything is started.

    How far the data are loaded, is told.

    Raises:
        ValueError: a configuration does not fit the data or the workers.
        ResourceError: a local cluster is too small.
    """
    check_tracking(launch)
    cluster.check_this_machine(launch)
    dataset = load_dataset(plan.data, tell)
    for config in plan.configs.values():
        check_batch_fits_workers(config, launch.workers_per_trial)
        check_network(config, dataset)
        check_scorable(config, dataset, [config.evaluation.num_samples])
    if plan.classifier is not None:
        load_split(plan.data, plan.classifier.test_root, tell)


def table_inputs(
    plan: TablePlan, runs_root: Path, done: Sequence[str], tell: Tell = untold
) -> TableInputs:
    """Make what scores the rows that are not `done`.

    Raises:
        ValueError: weights or packages of the extractor are missing.
    """
    scoring, split = None, None
    config = next((plan.configs[row] for row in plan.configs if row not in done), None)
    if config is not None:
        scoring, _ = scoring_inputs(
            config.evaluation,
            load_dataset(plan.data, tell),
            runs_root,
            trusted=True,
            tell=tell,
        )
    if plan.classifier is not None:
        split = load_split(plan.data, plan.classifier.test_root, tell)
    return TableInputs(scoring, split)


def stored_result(plan: TablePlan, row: str) -> RowResult | None:
    """Return the result in a row's folder, None if it is not finished.

    `check_folder` has made sure that it is of the same configuration.
    """
    directory = plan.row_directory(row)
    if not (directory / ROW_FILE).exists():
        return None
    cards = TrialFolder(directory).scores()
    card = cards[-1] if cards and cards[-1].final else None
    if row in plan.configs and card is None:
        return None
    if plan.classifier is None:
        return RowResult(row, card)
    classification = read_stored(directory / CLASSIFIER_FILE, read_json)
    return None if classification is None else RowResult(row, card, classification)


def run_table(
    plan: TablePlan, inputs: TableInputs, launch: LaunchConfig, screen: Screen
) -> list[RowResult]:
    """Return every row's result; those that are not stored are trained, one after another.

    A training that fails is reported in its row; the others go on.

    Raises:
        StudyError: another process runs this table.
        ValueError: the rows were not scored alike.
    """
    plan.directory.mkdir(parents=True, exist_ok=True)
    with hold(plan.directory):
        results = [
            _row(plan, row, inputs, launch, screen, place)
            for place, row in enumerate(plan.rows, start=1)
        ]
    check_rows_comparable(results)
    return results


def check_rows_comparable(results: list[RowResult]) -> None:
    """Raise ValueError unless all rows have one protocol and one length of training."""
    cards = [result.card for result in results if result.card is not None]
    check_comparable([card.protocol for card in cards])
    seen = sorted({card.images_seen for card in cards})
    if len(seen) > 1:
        raise ValueError(f"rows of {seen} images seen do not compare; allowed: one length")


def _row(
    plan: TablePlan,
    row: str,
    inputs: TableInputs,
    launch: LaunchConfig,
    screen: Screen,
    place: int,
) -> RowResult:
    head = f"row {place} of {len(plan.rows)}: {row}"
    found = stored_result(plan, row)
    if found is not None:
        screen.say(f"{head}, done before")
        return found
    screen.say(head)
    settings = yaml.safe_dump(plan.settings(row), sort_keys=False)
    write_atomically(plan.row_directory(row) / ROW_FILE, settings)
    try:
        return _train_row(plan, row, inputs, launch, screen)
    except DiffropError as error:
        screen.say(f"row {row} failed: {error}")
        return RowResult(row, None, failure=str(error))


def _train_row(
    plan: TablePlan, row: str, inputs: TableInputs, launch: LaunchConfig, screen: Screen
) -> RowResult:
    directory, card = plan.row_directory(row), None
    if row in plan.configs:
        assert inputs.scoring is not None  # there is a model to score
        experiment = f"{plan.directory.name}-{row}"
        trained = train_final(
            plan.configs[row], inputs.scoring, directory, launch, screen, experiment
        )
        for line in trained.untracked:
            screen.say(line)
        if trained.interrupted:
            raise KeyboardInterrupt
        if trained.card is None:
            return RowResult(row, None, failure=trained.failure)
        card = trained.card
    if plan.classifier is None:
        return RowResult(row, card)
    device = torch.device("cuda" if launch.gpus_per_worker else "cpu")
    found = _classified(plan, row, inputs, card, device, screen.working).to_dict()
    write_json(directory / CLASSIFIER_FILE, found, indent=None)
    return RowResult(row, card, found)


def _classified(
    plan: TablePlan,
    row: str,
    inputs: TableInputs,
    card: ScoreCard | None,
    device: torch.device,
    tell: Tell,
) -> TableRow:
    """Train and score the classifier of a row of Table 3.

    Raises:
        CheckpointError: the checkpoint of the row's model is gone or damaged.
    """
    split, classifier = inputs.split, plan.classifier
    assert split is not None and classifier is not None  # it is Table 3
    data = split.balanced if row == "balanced" else split.train
    if card is not None:
        checkpoint = read_checkpoint(
            TrialFolder(plan.row_directory(row)).scored_checkpoint(card.images_seen)
        )
        check_same_data(checkpoint, split)
        num, seed = classifier.num_generated, classifier.config.seed
        data = joined(data, generated_images(checkpoint, num, card.omega, seed, device, tell))
    return training_set_row(row, classifier.config, data, split.test, device, tell)
