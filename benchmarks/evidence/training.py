"""One training of an arm, scored at its rungs: the rows that it adds to a table."""

import dataclasses
import functools
import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from benchmarks.compiled import Networks, drawn, timed
from benchmarks.evidence import table
from benchmarks.evidence.arms import CLASSIFIED_AT, Arm, Setting
from benchmarks.evidence.stages import SETTINGS
from benchmarks.sampling_checkpoints import provide_images
from diffrop.baselines.augmentation import joined, training_set_row
from diffrop.baselines.classifier_config import classifier_recipe
from diffrop.config import Metric
from diffrop.data import LabelledImages, load_dataset
from diffrop.data.held_out import load_split
from diffrop.engine.prepare import scoring_inputs
from diffrop.errors import NonFiniteError
from diffrop.metrics.report import ShotReport, evaluate
from diffrop.provenance import git_commit
from diffrop.scoring.samples import ScoringInputs
from diffrop.scoring.score import sampler_name
from diffrop.training.trainer import Trainer

METRICS: tuple[Metric, ...] = ("fid", "memorisation")
DEVICE = torch.device("cpu")


@functools.cache
def inputs_of(setting: str, runs_root: Path) -> ScoringInputs:
    """Return data, extractor and reference of a setting.

    Raises:
        ValueError: the images are not there; see `sampling_checkpoints.unpack`.
    """
    experiment, data = SETTINGS[setting].experiment(Arm(name="DDPM"), seed=0), runs_root / "data"
    provide_images(experiment.data.dataset, data)
    dataset = load_dataset(dataclasses.replace(experiment.data, root=str(data)))
    return scoring_inputs(experiment.evaluation, dataset, runs_root)[0]


NETWORKS = Networks()
"""Of this process."""


class Training:
    """One training of an arm, scored at its rungs."""

    def __init__(self, setting: Setting, arm: Arm, seed: int, runs_root: Path) -> None:
        """Build the model."""
        self._setting, self._arm, self._seed = setting, arm, seed
        self._inputs = inputs_of(setting.name, runs_root)
        self._config = setting.experiment(arm, seed)
        self._trainer = Trainer(self._config, self._inputs.dataset, DEVICE)
        self._network = NETWORKS.of(self._config, self._inputs.dataset)
        self._digest, self._commit = setting.digest(arm), git_commit()
        self._ratios: list[float] = []

    def rows(self) -> list[dict[str, Any]]:
        """Train, and return the rows of the table; a training that fails has what came before."""
        found: list[dict[str, Any]] = []
        training_s = 0.0
        for images in self._setting.rungs:
            last = images == max(self._setting.rungs)
            try:
                _, seconds = timed(functools.partial(self._train_until, images))
            except NonFiniteError:
                return [*found, self._row(images, float("nan"), 0, {})]
            training_s += seconds
            for omega in self._setting.omegas_of(self._arm):
                found += self._scored(images, omega, training_s, last)
        return found

    def _train_until(self, images: int) -> None:
        self._trainer.train_until(images, log=self._note)
        self._network.network.load_state_dict(self._trainer.ema.model.state_dict())

    def _note(self, row: Mapping[str, float]) -> None:
        if "pcl/grad_ratio" in row:
            self._ratios.append(row["pcl/grad_ratio"])

    def _scored(
        self, images: int, omega: float, training_s: float, last: bool
    ) -> list[dict[str, Any]]:
        """Draw once; return the rows of the whole draw and, at the end, of its first samples."""
        rows, seconds = timed(functools.partial(self._rows_of_draw, images, omega, last))
        rows[-1] |= {"training_s": round(training_s, 1), "scoring_s": round(seconds, 1)}
        found: list[dict[str, Any]] = rows
        return found

    def _rows_of_draw(self, images: int, omega: float, last: bool) -> list[dict[str, Any]]:
        setting = self._setting
        full = setting.num_samples if last else setting.rung_samples
        schedule, dataset = self._trainer.schedule, self._inputs.dataset
        samples = drawn(self._network, schedule, self._config, dataset, omega, full)
        extraction, labels = self._inputs.extractor.extract(samples.images), samples.labels
        rows = []
        for count in (*(setting.counts if last else ()), full):
            details = last and count == full
            report = self._report(extraction.rows(torch.arange(count)), labels[:count], details)
            scores: dict[str, Any] = {
                name: round(value, 4)
                for name, value in report.scores.items()
                if name in table.COLUMNS
            }
            for name in table.FIDS if details else ():
                ends = report.intervals[name]
                scores |= {f"{name} low": round(ends.low, 4), f"{name} high": round(ends.high, 4)}
            rows.append(self._row(images, omega, count, scores))
        if last and omega == CLASSIFIED_AT:
            rows[-1] |= self._classified(samples)
        return rows

    def _classified(self, generated: LabelledImages) -> dict[str, float]:
        """Return the accuracy of the classifiers that the arm asks for, by column."""
        split = load_split(self._config.data)
        config = dataclasses.replace(classifier_recipe(self._setting.dataset), seed=self._seed)
        found = {}
        for name in self._arm.classifiers:
            data = split.train if name == "long-tailed" else joined(split.train, generated)
            row = training_set_row(name, config, data, split.test, DEVICE)
            found[f"classifier {name}"] = round(row.scores.accuracy, 4)
        return found

    def _report(self, features: Any, labels: torch.Tensor, details: bool) -> ShotReport:
        sampler = sampler_name(self._config)
        metrics = METRICS if details else METRICS[:1]
        reference = self._inputs.reference
        return evaluate(
            features, labels, reference, sampler=sampler, metrics=metrics, details=details
        )

    def _row(
        self, images: int, omega: float, count: int, scores: Mapping[str, Any]
    ) -> dict[str, Any]:
        ratio = sum(self._ratios) / len(self._ratios) if self._ratios else None
        return {
            "arm": self._arm.name,
            "settings": self._arm.key,
            "digest": self._digest,
            "seed": self._seed,
            "images": images,
            "omega": omega,
            "num_samples": count,
            "grad_ratio": ratio and float(f"{ratio:.4g}"),
            "commit": self._commit,
            **scores,
        }


def end_with(parent: int) -> None:
    """Let this process end within a second of its parent, however that ends."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def train(setting: str, arm: Arm, seed: int, runs_root: Path) -> list[dict[str, Any]]:
    """Train and score one arm in a process of the pool."""
    torch.set_num_threads(1)
    return Training(SETTINGS[setting], arm, seed, runs_root).rows()
