"""Train the trials of the landscapes in turn, adding each to its table when it has ended.

Every trial is a real one: its recipe through the project's own trainer, sampler and scorer. After
the initial design, points are chosen where the model of what is there knows least, for as long as
the run goes on. A killed run goes on where it stopped and loses one trial at most.

    OMP_NUM_THREADS=1 python -m benchmarks.make_landscapes
    OMP_NUM_THREADS=1 python -m benchmarks.make_landscapes --landscapes digits_reserved
    python -m benchmarks.make_landscapes --propose 4      # print the next points, train nothing
"""

import argparse
import itertools
import math
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.compiled import Networks, drawn, timed
from benchmarks.landscape_table import (
    SCORES,
    add_options,
    append_line,
    read_lines,
    table_path,
    trial_of,
)
from benchmarks.landscapes import (
    LANDSCAPES,
    RUINED,
    SEEDS,
    Landscape,
    Trial,
    point_key,
    sobol_points,
)
from benchmarks.surrogate import Surrogate, most_uncertain
from diffrop.config import ExperimentConfig
from diffrop.data import load_dataset
from diffrop.engine.prepare import scoring_inputs
from diffrop.errors import NonFiniteError
from diffrop.metrics.report import evaluate
from diffrop.provenance import git_commit
from diffrop.scoring.samples import FID_ALONE
from diffrop.scoring.score import sampler_name
from diffrop.training.trainer import Trainer

PREFIXES = (30, 60, 125, 250, 500, 1_000)
"""The first N samples are scored too, to show how FID depends on N."""
DEVICE = torch.device("cpu")
PROPOSALS, NUM_CANDIDATES = 6, 512


class Filler:
    """Trains the trials of one landscape, and adds them to its table."""

    def __init__(
        self, landscape: Landscape, table: Path, runs_root: Path, networks: Networks
    ) -> None:
        """Load the data; make the extractor and the reference.

        Args:
            landscape: what is trained.
            table: where trials are added.
            runs_root: folder whose cache holds the extractor.
            networks: to sample with.
        """
        self.landscape, self.table = landscape, table
        self._dataset = load_dataset(landscape.baseline.data)
        evaluation = landscape.baseline.evaluation
        self._inputs = scoring_inputs(evaluation, self._dataset, runs_root)[0]
        self._networks = networks
        self._proposed: list[Trial] = []

    def next_trial(self) -> Trial:
        """Return the first trial of the design that is missing, or one that the model asks for."""
        lines = read_lines(self.table)
        missing = missing_of_design(self.landscape, lines)
        if missing is not None:
            return missing
        if not self._proposed:
            self._proposed = propose(self.landscape, lines, PROPOSALS)
        return self._proposed.pop(0)

    def train(self, trial: Trial) -> dict[str, Any]:
        """Train and score one trial; return its line of the table."""
        seeds = {"training.seed": trial.seed, "evaluation.seed": 12_345 + trial.seed}
        config = self.landscape.baseline.with_values({**trial.values, **seeds})
        content: dict[str, Any] = {
            "values": dict(trial.values),
            "seed": trial.seed,
            "commit": git_commit(),
            "rungs": [],
        }
        sampled = self._networks.of(config, self._dataset)
        trainer = Trainer(config, self._dataset, DEVICE)
        for images, num_samples in self.landscape.rungs.items():
            try:
                _, training_s = timed(partial(trainer.train_until, images))
                sampled.network.load_state_dict(trainer.ema.model.state_dict())
                score = partial(self._draw, config, trainer, sampled, num_samples)
                draws = [score(omega) for omega in self.landscape.omegas]
            except NonFiniteError:
                return {**content, "failed": True}
            rung = {"images": images, "training_s": round(training_s, 3), "draws": draws}
            content["rungs"].append(rung)
        return content

    def _draw(
        self,
        config: ExperimentConfig,
        trainer: Trainer,
        network: nn.Module,
        num_samples: int,
        omega: float,
    ) -> dict[str, Any]:
        """Draw once and score every prefix of it; the times are of the whole draw."""
        source = network, trainer.schedule, config, self._dataset, omega, num_samples
        samples, sampling_s = timed(partial(drawn, *source))
        images, labels = samples.images, samples.labels
        features, features_s = timed(partial(self._inputs.extractor.extract, images))
        scores, metrics_s = {}, 0.0
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
            report, metrics_s = timed(score)  # that of the whole draw, in the end
            scores[str(count)] = [round(report.scores[name], 3) for name in SCORES]
        return {
            "omega": omega,
            "sampling_s": round(sampling_s, 3),
            "scoring_s": round(features_s + metrics_s, 3),
            "scores": scores,
        }


def missing_of_design(landscape: Landscape, lines: Sequence[dict[str, Any]]) -> Trial | None:
    """Return the first trial of the initial design that the table lacks; None if it has all."""
    known = {trial_of(content).key for content in lines}
    ruined = ruined_points(landscape, lines)
    left = (t for t in landscape.design() if t.key not in known and t.key[0] not in ruined)
    return next(left, None)


def propose(landscape: Landscape, lines: Sequence[dict[str, Any]], count: int) -> list[Trial]:
    """Return the trials from which the model of a landscape would learn most.

    Candidates are random points; those that are ruined by its prediction less one standard
    deviation are left out. Of the others each has the greatest uncertainty once those before it
    are trained. Seeds take turns.
    """
    surrogate = Surrogate.fit(landscape, lines)
    points = sobol_points(landscape.search_space, seed=1 + len(lines))
    candidates = list(itertools.islice(points, NUM_CANDIDATES))
    hopeful = surrogate.may_be_sound(candidates)
    left = [values for values, kept in zip(candidates, hopeful, strict=True) if kept]
    chosen = most_uncertain(surrogate, left, count)
    return [Trial(v, SEEDS[(len(lines) + i) % len(SEEDS)]) for i, v in enumerate(chosen)]


def ruined_points(landscape: Landscape, lines: Sequence[dict[str, Any]]) -> set[str]:
    """Return the keys of points of which one training failed, or ended far above the baseline."""
    final = {trial_of(content).key: final_score(landscape, content) for content in lines}
    own = [score for (point, _), score in final.items() if point == point_key({})]
    worst = RUINED * max(own, default=math.inf)
    return {point for (point, _), score in final.items() if score > worst}


def final_score(landscape: Landscape, content: dict[str, Any]) -> float:
    """Return the objective of a trial at its end, at its best omega; infinite if it failed."""
    if content.get("failed"):
        return math.inf
    place = SCORES.index(landscape.objective)
    last = content["rungs"][-1]
    return min(drawn["scores"][max(drawn["scores"], key=int)][place] for drawn in last["draws"])


def fill(fillers: Sequence[Filler], max_trials: int | None) -> None:
    """Train a trial of each landscape in turn, without end if no number is given."""
    turns = itertools.cycle(fillers)
    for filler in turns if max_trials is None else itertools.islice(turns, max_trials):
        trial = filler.next_trial()
        content, seconds = timed(partial(filler.train, trial))
        append_line(filler.table, content)
        score = final_score(filler.landscape, content)
        print(
            f"{time.strftime('%H:%M:%S')} {filler.landscape.name} {point_key(trial.values)} "
            f"seed {trial.seed}: {filler.landscape.objective} {score:.1f}, "
            f"{seconds:.0f} s of processor time",
            flush=True,
        )


def main() -> None:
    """Train what is missing."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add_options(parser)
    add("--runs-root", type=Path, default=Path("runs"), help="its .cache holds the extractor")
    add("--max-trials", type=int, help="stop after this many; a later run goes on")
    add("--propose", type=int, metavar="N", help="print N points for each by the model alone")
    args = parser.parse_args()
    if args.propose:
        for name in args.landscapes:
            try:
                lines = read_lines(table_path(args.tables, name))
                proposed = propose(LANDSCAPES[name], lines, args.propose)
            except ValueError as error:
                print(f"no proposals for {name}: {error}")
                continue
            for trial in proposed:
                print(f"{name} {point_key(trial.values)} seed {trial.seed}")
        return
    torch.set_num_threads(1)
    args.tables.mkdir(parents=True, exist_ok=True)
    networks = Networks()
    fillers = [
        Filler(LANDSCAPES[name], table_path(args.tables, name), args.runs_root, networks)
        for name in args.landscapes
    ]
    fill(fillers, args.max_trials)


if __name__ == "__main__":
    main()
