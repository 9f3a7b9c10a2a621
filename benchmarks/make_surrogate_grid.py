"""Train a grid of digits trials for `search_efficiency.py`, appending to a CSV file.

Every trial is a real one: the digits recipe through the project's own trainer, sampler and
scorer. A killed run goes on where it stopped: trials that have their rows are not repeated.
"""

import argparse
import csv
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from diffrop.checkpoint_file import Checkpoint
from diffrop.config import ExperimentConfig
from diffrop.data import load_dataset
from diffrop.engine.prepare import scoring_inputs
from diffrop.errors import NonFiniteError
from diffrop.metrics.report import balanced_labels, evaluate
from diffrop.recipes import digits
from diffrop.scoring.samples import FID_ALONE, ScoringInputs, draw_samples
from diffrop.scoring.score import sampler_name
from diffrop.shot_groups import GROUPS
from diffrop.training.trainer import Trainer

SEEDS = (0, 1, 2)
RUNGS = {5_120: 250, 10_240: 250, 20_480: 500}
"""Images seen, and how many samples are drawn there."""
FINAL_SAMPLES_OF_SEED_0 = 1_000
PREFIXES = (30, 60, 125, 250, 500, 1_000)
"""The first N samples are scored too, to show how FID depends on N."""
OMEGAS = (0.0, 0.5, 1.0, 2.0)
FORK_IMAGES = 10_240
DEVICE = torch.device("cpu")
RUINED = 1.5
"""A point whose final FID with seed 0 is this many times the baseline's is not repeated."""
LOSS = "objective."
"""Where a checkpoint keeps the state of the loss, which a fork begins afresh."""
CHUNK = 125
"""Images that go through the compiled network at a time."""
KEYS = ("form", "tau_0", "decay_temperature", "margin", "start_images", "seed")
COLUMNS = (
    *KEYS,
    "images",
    "omega",
    "num_samples",
    *(f"fid/{group}" for group in GROUPS),
    "accuracy/all",
    "training_s",
    "sampling_s",
    "scoring_s",
)


@dataclass(frozen=True)
class Point:
    """The settings of one training, without its seed."""

    form: str
    tau_0: float = 0.0
    decay_temperature: float = 0.0
    margin: float = 0.0
    start_images: int = 0
    """Images seen at which the contrastive loss begins: at a fork from the baseline, or 0."""

    @property
    def values(self) -> dict[str, Any]:
        """The keys of the configuration that it sets."""
        names = {"none": 1, "hinge": 5}.get(self.form, 3)
        fields = {f"contrastive.{key}": getattr(self, key) for key in KEYS[:4][:names]}
        return {**fields, "contrastive.start_images": self.start_images}


def design() -> list[list[Point]]:
    """Return the stages, each useful without the next.

    Baseline and two forms on each of two complementary sets, the forks of one of each, and the
    other half. A weak loss needs no points of its own: towards tau_0 = 0 it is the baseline.
    """
    sets = {
        "even": [(10.0, 0.1, 1.0), (10.0, 0.6, 1.03), (100.0, 0.25, 1.0)],
        "odd": [(1.0, 0.6, 1.0), (30.0, 0.1, 1.03), (100.0, 0.6, 1.015)],
    }
    halves: list[list[Point]] = [[Point("none")], []]
    for row, form in enumerate(("negative_l2", "hinge", "exponential", "reciprocal")):
        for column, points in enumerate(sets.values()):
            for tau_0, decay, margin in points:
                margin = margin if form == "hinge" else 0.0
                halves[(row + column) % 2].append(Point(form, tau_0, decay, margin))
    forks = [replace(point, start_images=FORK_IMAGES) for point in halves[0][2::3]]
    return [halves[0], forks, halves[1]]


class Chunked(nn.Module):
    """A compiled network that always sees `CHUNK` images; it can take the weights of any EMA."""

    def __init__(self, network: nn.Module) -> None:
        """Compile a network, which keeps its weights."""
        super().__init__()
        self.network = network.eval().requires_grad_(False)
        self._compiled = torch.compile(network, dynamic=False)

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return the predicted noise of a whole number of chunks."""
        parts = zip(*(tensor.split(CHUNK) for tensor in inputs), strict=True)
        return torch.cat([self._compiled(*part) for part in parts])


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """Return a result and the seconds of processor time that it took.

    One thread works, so that these are the wall-clock seconds of an idle core.
    """
    start = time.process_time()
    result = work()
    return result, time.process_time() - start


class Grid:
    """What the trials share, and the trunk of each seed for the forks."""

    def __init__(self, cache: Path) -> None:
        """Load the data; make the extractor and the reference."""
        quiet = {"training.grad_ratio_every_steps": digits().experiment.training.num_images}
        self._base = digits().experiment.with_values(quiet)
        self._dataset = load_dataset(self._base.data)
        self._inputs: ScoringInputs = scoring_inputs(self._base.evaluation, self._dataset, cache)[
            0
        ]
        self._network = Chunked(Trainer(self._base, self._dataset, DEVICE).ema.model)
        shape = (CHUNK, *self._dataset.image_shape)
        labels = torch.zeros(CHUNK, dtype=torch.int64)
        self._network(torch.zeros(shape), labels, labels)  # compiles, before anything is timed
        self._trunks: dict[int, Checkpoint] = {}

    def rows(self, point: Point, seed: int) -> Iterator[dict[str, Any]]:
        """Train and score one trial; a training that fails has its rows without scores."""
        known = {key: getattr(point, key) for key in KEYS[:-1]} | {"seed": seed}
        config = self._base.with_values({**point.values, **_seeds(seed)})
        trainer = Trainer(config, self._dataset, DEVICE)
        if point.start_images:
            # The trunk is the baseline's training: only the loss changes, from here on.
            trunk = self._trunk(seed)
            own = {k: v for k, v in trainer.checkpoint().tensors.items() if k.startswith(LOSS)}
            card = {**trunk.card, "config": config.to_dict()}
            trainer.load(Checkpoint({**trunk.tensors, **own}, card))
        for images, num_samples in RUNGS.items():
            if images <= trainer.images_seen:
                continue  # scored as the baseline
            if (seed, images) == (0, max(RUNGS)):
                num_samples = FINAL_SAMPLES_OF_SEED_0
            try:
                _, training_s = timed(partial(trainer.train_until, images))
                self._network.network.load_state_dict(trainer.ema.model.state_dict())
                found = [
                    {"omega": omega, **row}
                    for omega in OMEGAS
                    for row in self._scores(config, trainer, omega, num_samples)
                ]
            except NonFiniteError:
                yield {**known, "images": images}
                return
            for row in found:
                yield {**known, "images": images, "training_s": training_s, **row}

    def _trunk(self, seed: int) -> Checkpoint:
        if seed not in self._trunks:
            config = self._base.with_values({**Point("none").values, **_seeds(seed)})
            trainer = Trainer(config, self._dataset, DEVICE)
            trainer.train_until(FORK_IMAGES)
            self._trunks[seed] = trainer.checkpoint()
        return self._trunks[seed]

    def _scores(
        self, config: ExperimentConfig, trainer: Trainer, omega: float, num_samples: int
    ) -> list[dict[str, Any]]:
        """Score every prefix of one draw; the times are of the whole draw."""
        dataset, labels = self._dataset, balanced_labels(num_samples, 10)
        draw = partial(
            draw_samples,
            self._network,
            trainer.schedule,
            config.sampling,
            dataset.image_shape,
            labels,
            omega,
            dataset.num_classes,
            config.evaluation.seed,
        )
        images, sampling_s = timed(draw)
        features, features_s = timed(partial(self._inputs.extractor.extract, images))
        rows = []
        for count in (prefix for prefix in PREFIXES if prefix <= num_samples):
            score = partial(
                evaluate,
                features.rows(torch.arange(count)),
                labels[:count],
                self._inputs.reference,
                sampler=sampler_name(config),
                metrics=FID_ALONE,
                details=False,
            )
            report, metrics_s = timed(score)
            scores = {f"fid/{group}": report.scores[f"fid/{group}"] for group in GROUPS}
            row = {"num_samples": count, **scores, "accuracy/all": report.scores["accuracy/all"]}
            if count == num_samples:
                row |= {"sampling_s": sampling_s, "scoring_s": features_s + metrics_s}
            rows.append(row)
        return rows


def _seeds(seed: int) -> dict[str, int]:
    """Return the keys of a seed: another training and other noise of the samples."""
    return {"training.seed": seed, "evaluation.seed": 12_345 + seed}


def finished(path: Path) -> set[tuple[str, ...]]:
    """Return the keys of the trials whose rows are in the table."""
    if not path.exists():
        return set()
    with path.open(encoding="utf-8") as file:
        return {tuple(row[key] for key in KEYS) for row in csv.DictReader(file)}


def is_ruined(path: Path, point: Point) -> bool:
    """Return whether seed 0 shows that further seeds of a point would not be useful."""
    with path.open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["seed"] == "0"]
    last = str(max(RUNGS))

    def final(of: Point) -> float:
        keys = {key: str(getattr(of, key)) for key in KEYS[:-1]}
        found = [
            row["fid/all"]
            for row in rows
            if row["images"] == last and row["sampling_s"] and keys.items() <= row.items()
        ]
        return min(map(float, found), default=math.inf)

    return final(point) > RUINED * final(Point("none"))


def append(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write the rows of a whole trial at once."""
    first = not path.exists()
    with path.open("a", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if first:
            writer.writeheader()
        shown = [
            {k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()} for row in rows
        ]
        writer.writerows(shown)


def main() -> None:
    """Train what is missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--table", type=Path, default=Path(__file__).parent / "data" / "digits_grid.csv")
    add(
        "--runs-root",
        type=Path,
        default=Path("runs"),
        help="folder whose .cache holds the extractor",
    )
    add("--max-trials", type=int, help="stop after this many; a later run goes on")
    args = parser.parse_args()
    torch.set_num_threads(1)
    grid, done = Grid(args.runs_root), finished(args.table)
    todo = [
        (point, seed)
        for stage in design()
        for seed in SEEDS
        for point in stage
        if (*(str(getattr(point, key)) for key in KEYS[:-1]), str(seed)) not in done
    ]
    for number, (point, seed) in enumerate(todo[: args.max_trials]):
        if seed > 0 and is_ruined(args.table, point):
            continue
        rows, seconds = timed(partial(list, grid.rows(point, seed)))
        append(args.table, rows)
        left = len(todo) - number - 1
        print(f"{point} seed {seed}: {seconds:.0f} s of processor time; {left} left", flush=True)


if __name__ == "__main__":
    main()
