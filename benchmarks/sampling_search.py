"""Compare ways to search the sampling level: regret on fresh noise at the full N, samples drawn.

Four methods choose among the same candidates on the same noise, by FID as it is on a round's
samples (plain) or carried to the full N (carried): the grid; halving over the product of all
dimensions; racing, where a candidate leaves as soon as its paired 95 % interval lies above the
leader's; and the engine's own, halving after coordinate-wise visits. All but the grid draw at most
three times the full N.

Candidates are Gaussians, whose expected FID at the full N is known (curves over omega, and a space
of four dimensions), and the samples of a checkpoint: of a small model on digits that this trains,
or, with --study, of a study's trials. Samples of a checkpoint are drawn once, by the engine's
samplers; every repeat parts them at random into those that methods see and fresh ones.

    python -m benchmarks.sampling_search
"""

import argparse
import functools
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from diffrop.checkpoint_file import write_checkpoint
from diffrop.data import load_dataset
from diffrop.engine.guidance_sweep import (
    SweptCheckpoint,
    ranked_trials,
    ready_to_sample,
    study_checkpoints,
)
from diffrop.metrics import Estimate, paired_interval
from diffrop.metrics.fid_carried import FidAtFullN, expected_overlap
from diffrop.metrics.frechet import GaussianStatistics, frechet_distance
from diffrop.metrics.intervals import fid_estimate
from diffrop.metrics.report import balanced_labels
from diffrop.recipes import recipe
from diffrop.schema import plain
from diffrop.scoring.samples import ScoringInputs, draw_samples
from diffrop.scoring.sampling_search import (
    LEAST_PER_CLASS,
    MOST_DRAWN,
    REDUCTION,
    Estimated,
    Round,
    plan_rounds,
    samples_at_most,
    search,
)
from diffrop.storage import write_atomically
from diffrop.study.objectives import Goal
from diffrop.study.sampling_choice import SamplingChoice, sampling_choices
from diffrop.training.trainer import Trainer

DIM = 512
"""Features of the Gaussians: more than the samples of early rounds."""
GAUSSIAN_NUM_SAMPLES = 1_000
DIGITS_NUM_SAMPLES = 600
COMMON = 0.9
"""Share of the variance of the noise that the Gaussians of a space have in common."""
GAUSSIAN_CLASSES = 10
SPACE: Mapping[str, Any] = {
    "evaluation.samplers": ["ddim-5", "dpmpp-5", "heun-3"],
    "evaluation.guidance_scales": [0.0, 0.5, 1.0, 2.0],
    "evaluation.guidance_intervals": [[0.0, 1.0], [0.0, 0.5], [0.2, 0.7]],
    "evaluation.ema_lengths": [None, 0.05, 0.15],
    "training.ema_lengths": [0.05, 0.15],
}
"""Three samplers of five evaluations, four omegas, three intervals and three averages."""
MODEL: Mapping[str, Any] = {"contrastive.form": "none", "model.base_channels": 8}
"""What is trained on digits, beside the recipe: half as wide, for many samples are drawn."""


class Space(Protocol):
    """Candidates, and samples of each."""

    @property
    def name(self) -> str:
        """For the table."""

    @property
    def choices(self) -> Sequence[SamplingChoice]:
        """The candidates."""

    @property
    def reference(self) -> GaussianStatistics:
        """What FIDs compare with."""

    @property
    def labels(self) -> Tensor:
        """Of the full N samples."""

    def features(self, choice: SamplingChoice, repeat: int) -> Tensor:
        """Return the features of the full N samples (N, D) of one noise."""

    def value(self, choice: SamplingChoice, repeat: int) -> float:
        """Return the FID at the full N on other noise."""


@dataclass(frozen=True)
class Gaussians:
    """A space whose candidates' features are independent Gaussians."""

    name: str
    choices: Sequence[SamplingChoice]
    real: Tensor
    """Standard deviations of the reference (D,)."""
    of: Callable[[SamplingChoice], tuple[Tensor, Tensor]]
    """Mean and standard deviations (D,) of a candidate."""

    @property
    def reference(self) -> GaussianStatistics:
        """The exact fit."""
        return GaussianStatistics(torch.zeros_like(self.real), torch.diag(self.real), 10**9)

    @property
    def labels(self) -> Tensor:
        """One class, as no feature depends on it."""
        return torch.zeros(GAUSSIAN_NUM_SAMPLES, dtype=torch.int64)

    def features(self, choice: SamplingChoice, repeat: int) -> Tensor:
        """Return samples of the noise of a repeat, a part of it the candidate's own."""
        own = 1 + self.choices.index(choice)
        noise, more = (
            np.random.default_rng([repeat, stream]).standard_normal(
                (GAUSSIAN_NUM_SAMPLES, len(self.real))
            )
            for stream in (0, own)
        )
        mean, std = self.of(choice)
        mixed = torch.from_numpy(COMMON**0.5 * noise + (1 - COMMON) ** 0.5 * more)
        return mean + std * mixed

    def value(self, choice: SamplingChoice, repeat: int) -> float:
        """Return the expected FID at the full N, exactly but for a few tenths of a per cent."""
        mean, std = self.of(choice)
        count = GAUSSIAN_NUM_SAMPLES
        shared = expected_overlap((std * self.real).square().numpy(), count)
        traces = (1 + 1 / count) * std.square().sum() + self.real.square().sum()
        return float(mean.square().sum() + traces) - 2 * shared


@dataclass(frozen=True)
class Drawn:
    """The candidates of a checkpoint, with several times the full N samples drawn of each."""

    name: str
    choices: Sequence[SamplingChoice]
    reference: GaussianStatistics
    labels: Tensor
    """Of the full N."""
    drawn: Mapping[SamplingChoice, Tensor]
    """Features (P N, D), their labels 0, 1, ..., C-1, 0, 1, ..."""

    def features(self, choice: SamplingChoice, repeat: int) -> Tensor:
        """Return the first part of a random partition."""
        return self._parts(choice, repeat)[0]

    def value(self, choice: SamplingChoice, repeat: int) -> float:
        """Return the mean FID of the other parts, each of the full N."""
        parts = self._parts(choice, repeat)[1:]
        return float(np.mean([frechet_distance(part, self.reference) for part in parts]))

    def _parts(self, choice: SamplingChoice, repeat: int) -> Sequence[Tensor]:
        features, count = self.drawn[choice], len(self.labels)
        num_classes = int(self.labels.max()) + 1
        each = len(features) // num_classes
        rng = np.random.default_rng(repeat)
        # Which of its class's samples, by place and class: the same for every candidate.
        order = np.stack([rng.permutation(each) for _ in range(num_classes)], axis=1)
        rows = (order * num_classes + np.arange(num_classes)).ravel()
        return features[torch.from_numpy(rows)].split(count)[: len(features) // count]


def omega_curve(name: str, steepness: float, shape: str) -> Gaussians:
    """Return candidates over omega, which moves the mean and narrows the spread."""
    config = recipe("digits").experiment
    place = torch.arange(DIM, dtype=torch.float64)
    variances = (1 + place) ** -steepness
    real = (100 * variances / variances.sum()).sqrt()
    share = place / DIM

    def of(choice: SamplingChoice) -> tuple[Tensor, Tensor]:
        omega = choice.omega
        mean = torch.zeros(DIM, dtype=torch.float64)
        mean[0] = 3 * np.exp(-omega) + 0.3 * omega
        widths = {
            "even": 1.05 - 0.15 * omega + 0 * share,
            "tail": 1.05 - 0.3 * omega * share,
            "uneven": (1.1 - 0.2 * omega) ** 0.5 * (1 + 0.15 * (9 * share).sin()),
        }
        return mean, real * widths[shape]

    return Gaussians(name, sampling_choices(config), real, of)


def gaussian_space() -> Gaussians:
    """Return candidates of four dimensions, in which the interval bounds what omega does."""
    config = recipe("digits").experiment.with_values(SPACE)
    share = torch.arange(DIM, dtype=torch.float64) / DIM
    variances = (1 + DIM * share) ** -0.7
    real = (100 * variances / variances.sum()).sqrt()
    far = {"ddim": 1.5, "dpmpp": 0.6, "heun": 1.0}
    wide = {"ddim": 0.97, "dpmpp": 1.0, "heun": 1.04}

    def of(choice: SamplingChoice) -> tuple[Tensor, Tensor]:
        sampling = choice.sampling
        low, high = sampling.guidance_interval
        guided = choice.omega * (high - low) ** 0.5
        mean = torch.zeros(DIM, dtype=torch.float64)
        mean[0] = 3 * np.exp(-guided)
        mean[1] = far[sampling.sampler]
        mean[2] = {None: 0.9, 0.05: 0.5, 0.15: 0.7}[sampling.ema_length]
        mean[3] = 0.8 * choice.omega * (high - low) * (1.3 if low == 0 else 0.9)
        std = real * wide[sampling.sampler] * (1.05 - 0.12 * guided * (0.5 + share))
        return mean, std

    return Gaussians("Gaussians", sampling_choices(config), real, of)


def trained_checkpoint(folder: Path, device: torch.device) -> Path:
    """Train a small model on digits, with the averages of `SPACE`; return its file."""
    config = recipe("digits").experiment.with_values(
        {**MODEL, "training.ema_lengths": SPACE["training.ema_lengths"]}
    )
    path = folder / "digits.safetensors"
    if not path.exists():
        trainer = Trainer(config, load_dataset(config.data), device)
        trainer.train_until(config.training.num_images)
        write_checkpoint(path, trainer.checkpoint())
    return path


def drawn_space(
    swept: SweptCheckpoint, inputs: ScoringInputs, num_samples: int, num_parts: int
) -> Drawn:
    """Draw so many times the full N of every candidate of a checkpoint."""
    config, dataset = swept.config, inputs.dataset
    labels = balanced_labels(num_samples * num_parts, dataset.num_classes)
    found = {}
    for choice in swept.choices:
        images = draw_samples(
            swept.averages[choice.sampling.ema_length],
            swept.schedule,
            choice.sampling,
            dataset.image_shape,
            labels,
            choice.omega,
            dataset.num_classes,
            config.evaluation.seed,
        )
        found[choice] = inputs.extractor.extract(images).features.double().cpu()
    reference = inputs.reference.statistics["all"]
    return Drawn(swept.label, swept.choices, reference, labels[:num_samples], found)


class Meter:
    """Scores a space's candidates on one noise, and counts what has been drawn."""

    def __init__(self, space: Space, repeat: int) -> None:
        self.space, self._repeat = space, repeat
        self.full = len(space.labels)
        self._carry = FidAtFullN(space.reference)
        self._features: dict[SamplingChoice, Tensor] = {}
        self._known: dict[tuple[SamplingChoice, int], tuple[float, float]] = {}
        self.drawn: dict[SamplingChoice, int] = {}

    def first(self, choice: SamplingChoice, count: int) -> Tensor:
        """Return a candidate's first samples."""
        if choice not in self._features:
            self._features[choice] = self.space.features(choice, self._repeat)
        self.drawn[choice] = max(count, self.drawn.get(choice, 0))
        return self._features[choice][:count]

    def fid(self, choice: SamplingChoice, count: int, carried: bool) -> float:
        """Return a candidate's FID on its first samples, or what it is carried to."""
        features = self.first(choice, count)
        if (choice, count) not in self._known:
            plain_fid = frechet_distance(features, self.space.reference)
            labels = self.space.labels[:count]
            more = self._carry.carried(plain_fid, features, labels, self.full)
            self._known[choice, count] = (plain_fid, more)
        return self._known[choice, count][carried]

    def scores(
        self, choices: Sequence[SamplingChoice], count: int, carried: bool
    ) -> list[Estimated]:
        """Return what the engine's search asks for."""
        found = [self.fid(choice, count, carried) for choice in choices]
        return [Estimated({"fid/all": fid}, {"fid/all": fid}) for fid in found]

    def taken(self) -> float:
        """Return the samples that were drawn since the last call, over the full N."""
        drawn, self.drawn = sum(self.drawn.values()), {}
        return drawn / self.full


def grid(meter: Meter, num_classes: int) -> SamplingChoice:
    """Score all on the full N."""
    return min(meter.space.choices, key=lambda each: meter.fid(each, meter.full, carried=False))


def engine(meter: Meter, num_classes: int, carried: bool) -> SamplingChoice:
    """Search as the engine does."""
    rounds = plan_rounds("halving", meter.space.choices, meter.full, num_classes)
    goal = Goal(("fid/all",), (), meter.full)
    score = functools.partial(meter.scores, carried=carried)
    return search(meter.space.choices, rounds, goal, score).best


def product(meter: Meter, num_classes: int, carried: bool) -> SamplingChoice:
    """Halve all candidates; the first round is as large as fits into three times the full N."""
    choices = meter.space.choices
    rounds = _rounds_of_many(len(choices), meter.full, num_classes)
    left = _spread(choices, rounds[0].num_candidates)
    for current in rounds:
        score = functools.partial(meter.fid, count=current.num_samples, carried=carried)
        left = sorted(left[: current.num_candidates], key=score)
    return left[0]


def _rounds_of_many(num_candidates: int, full: int, num_classes: int) -> list[Round]:
    """Return rounds of all candidates, or of as many as can be begun with."""
    while True:
        for first in range(full // num_classes, LEAST_PER_CLASS - 1, -1):
            rounds, left, count = [], num_candidates, first * num_classes
            while left > 1 and count < full:
                rounds.append(Round(count, left))
                left, count = -(-left // REDUCTION), count * REDUCTION
            rounds.append(Round(full, left))
            if samples_at_most(rounds) <= MOST_DRAWN * full:
                return rounds
        num_candidates -= 1


def _spread(choices: Sequence[SamplingChoice], most: int) -> list[SamplingChoice]:
    """Return candidates, `most` at most, evenly over their list."""
    num = min(most, len(choices))
    return [choices[len(choices) * place // num] for place in range(num)]


def racing(meter: Meter, num_classes: int, carried: bool) -> SamplingChoice:
    """Double the samples of all that may be the best, and of the better ones where it is dear."""
    budget, full, labels = int(MOST_DRAWN * meter.full), meter.full, meter.space.labels
    count = LEAST_PER_CLASS * num_classes
    left = _spread(meter.space.choices, (budget - full) // count)
    spent = len(left) * count
    while True:
        left.sort(key=functools.partial(meter.fid, count=count, carried=carried))
        if count == full or len(left) == 1:
            return left[0]
        estimates = {c: _estimate(meter, c, count, carried) for c in left}
        leader = estimates[left[0]]
        left = [
            each
            for each in left
            if paired_interval(estimates[each], leader, labels[:count]).low <= 0
        ]
        more = min(full, 2 * count) - count
        afforded = (budget - spent - (full - count - more)) // more
        left = left[: max(1, afforded)]
        spent, count = spent + len(left) * more, count + more


def _estimate(meter: Meter, choice: SamplingChoice, count: int, carried: bool) -> Estimate:
    influence = fid_estimate(meter.first(choice, count), meter.space.reference).influence
    return Estimate(meter.fid(choice, count, carried), influence)


METHODS: Mapping[str, Callable[[Meter, int], SamplingChoice]] = {
    "grid": grid,
    "product, plain": functools.partial(product, carried=False),
    "product, carried": functools.partial(product, carried=True),
    "racing, plain": functools.partial(racing, carried=False),
    "racing, carried": functools.partial(racing, carried=True),
    "coordinates, plain": functools.partial(engine, carried=False),
    "engine: coordinates, carried": functools.partial(engine, carried=True),
}


@dataclass(frozen=True)
class Searched:
    """One search, and what it found on fresh noise."""

    space: str
    method: str
    repeat: int
    omega: float
    sampler: str
    value: float
    regret: float
    """Share by which `value` is above that of the grid's choice."""
    from_best: float
    """Share by which it is above that of the candidate that is the best there."""
    drawn: float
    """Samples over the full N."""


def compare(space: Space, num_classes: int, repeats: int) -> list[Searched]:
    """Search a space by all methods, on so many noises."""
    rows = []
    for repeat in range(repeats):
        meter = Meter(space, repeat)
        value = functools.cache(functools.partial(space.value, repeat=repeat))
        best = min(value(choice) for choice in space.choices)
        by_grid = float("nan")
        for method, choose in METHODS.items():
            choice = choose(meter, num_classes)
            found = value(choice)
            by_grid = found if method == "grid" else by_grid
            rows.append(
                Searched(
                    space.name,
                    method,
                    repeat,
                    choice.omega,
                    choice.sampler,
                    found,
                    found / by_grid - 1,
                    found / best - 1,
                    meter.taken(),
                )
            )
    return rows


def table_of(rows: Sequence[Searched]) -> Table:
    """Return means over repeats for the terminal."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for heading in ("space", "method"):
        table.add_column(heading, no_wrap=True)
    for heading in ("drawn", "most", "regret", "+-", "worst", "from best", "as grid"):
        table.add_column(heading, justify="right", no_wrap=True)
    for space in dict.fromkeys(row.space for row in rows):
        of_grid = [row for row in rows if (row.space, row.method) == (space, "grid")]
        picks = {row.repeat: (row.omega, row.sampler) for row in of_grid}
        for method in METHODS:
            part = [row for row in rows if (row.space, row.method) == (space, method)]
            regret = np.array([row.regret for row in part])
            alike = sum((row.omega, row.sampler) == picks[row.repeat] for row in part)
            error = regret.std(ddof=1) / len(part) ** 0.5 if len(part) > 1 else float("nan")
            table.add_row(
                space,
                method,
                f"{np.mean([row.drawn for row in part]):.2f}",
                f"{max(row.drawn for row in part):.2f}",
                f"{regret.mean():.2%}",
                f"{error:.2%}",
                f"{regret.max():.1%}",
                f"{np.mean([row.from_best for row in part]):.2%}",
                f"{alike} of {len(part)}",
            )
    return table


def checkpoint_spaces(args: argparse.Namespace, scratch: Path) -> list[tuple[Space, int]]:
    """Draw the samples of the checkpoints that are asked for."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if args.study is not None:
        files, changes = study_checkpoints(args.study, ranked_trials(args.study)), {}
    else:
        folder = args.cache or scratch
        files, changes = {"digits": trained_checkpoint(folder, device)}, dict(SPACE)
        changes.pop("training.ema_lengths")
    changes["evaluation.num_samples"] = args.num_samples
    swept, inputs = ready_to_sample(files, changes, scratch, device)
    found: list[tuple[Space, int]] = []
    for each in swept:
        space = drawn_space(each, inputs, args.num_samples, args.parts)
        found.append((space, inputs.dataset.num_classes))
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--study", type=Path, metavar="DIR", help="folder of a study, for its checkpoints")
    add("--cache", type=Path, metavar="DIR", help="keeps the trained checkpoint")
    add("--num-samples", type=int, default=DIGITS_NUM_SAMPLES, metavar="N", help="full N (600)")
    add("--parts", type=int, default=3, metavar="N", help="times the full N that is drawn (3)")
    add("--repeats", type=int, default=20, metavar="N", help="noises (20)")
    add("--out", type=Path, default=Path("sampling_search.json"), metavar="FILE")
    args = parser.parse_args()
    console = Console(highlight=False)
    spaces: list[tuple[Space, int]] = []
    if args.study is None:
        curves = (("even", 0.5), ("tail", 0.5), ("uneven", 1.0))
        gaussians = [omega_curve(f"omega, {shape}", steep, shape) for shape, steep in curves]
        spaces = [(each, GAUSSIAN_CLASSES) for each in (*gaussians, gaussian_space())]
    with tempfile.TemporaryDirectory() as scratch:
        spaces += checkpoint_spaces(args, Path(scratch))
    rows: list[Searched] = []
    for space, num_classes in spaces:
        rows += compare(space, num_classes, args.repeats)
        console.print(table_of([row for row in rows if row.space == space.name]))
    content = {"searches": [asdict(row) for row in rows]}
    write_atomically(args.out, json.dumps(plain(content), indent=1))
    console.print(f"written to {args.out}")


if __name__ == "__main__":
    main()
