"""Compare the search for omega with the full grid, on fresh noise at the full N.

The regret is the score at the omega that halving found, minus that at the omega that the grid
found, on noise that neither has seen. It is printed with its paired 95 % interval over samples,
beside half the interval of the score itself. Without --study it first trains a few small models on
digits, which takes under three minutes on a core.
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from diffrop.checkpoint_file import write_checkpoint
from diffrop.data import load_dataset
from diffrop.engine.guidance_sweep import (
    SweptCheckpoint,
    ranked_trials,
    ready_to_sample,
    study_checkpoints,
)
from diffrop.metrics.interval import Interval
from diffrop.metrics.intervals import Estimate, paired_interval
from diffrop.recipes import recipe
from diffrop.record.score_card import ScoreCard
from diffrop.schema import plain
from diffrop.scoring.samples import ScoringInputs
from diffrop.scoring.score import score_choice, score_model
from diffrop.seeds import derive_seed
from diffrop.storage import write_atomically
from diffrop.study.rung import Rung
from diffrop.study.sampling_choice import sampling_choices
from diffrop.training.trainer import Trainer

LENGTHS = (10_240, 20_480)
"""Images seen at which checkpoints of the models that this trains are kept."""
Z = 1.96


@dataclass(frozen=True)
class Comparison:
    """Grid and halving on one checkpoint and one noise, compared on another noise."""

    checkpoint: str
    omega_grid: float
    omega_halving: float
    value_grid: float
    """It is measured on fresh noise, as all values here."""
    value_halving: float
    regret: float
    low: float
    high: float
    standard_error: float
    score_half_width: float
    """Half the 95 % interval of the grid's score."""
    share: float
    """The samples that halving drew, divided by those of the grid."""
    seconds_grid: float
    seconds_halving: float


def trained_checkpoints(folder: Path, device: torch.device) -> dict[str, Path]:
    """Train the baseline on digits, and keep it at `LENGTHS`; return the files by name."""
    changes = {"contrastive.form": "none", "training.num_images": LENGTHS[-1]}
    config = recipe("digits").experiment.with_values(changes)
    trainer = Trainer(config, load_dataset(config.data), device)
    files = {}
    for images in LENGTHS:
        trainer.train_until(images)
        path = folder / f"baseline-{images}.safetensors"
        write_checkpoint(path, trainer.checkpoint())
        files[path.stem] = path
    return files


def compare(
    swept: SweptCheckpoint, inputs: ScoringInputs, objective: str, repeat: int
) -> Comparison:
    """Search by both methods on one noise, and score both choices on another."""
    config = swept.config
    seeds = [derive_seed(config.evaluation.seed, repeat, use) % 2**31 for use in (0, 1)]
    full = config.evaluation.num_samples
    rung = Rung(images=swept.images_seen, num_samples=full, num_steps=None, final=False)
    cards: list[ScoreCard] = []
    for method in ("grid", "halving"):
        asked = config.with_values(
            {
                "evaluation.omega_search": method,
                "evaluation.seed": seeds[0],
                "evaluation.objectives": [objective],
            }
        )
        scored = score_model(
            swept.averages,
            swept.schedule,
            asked,
            inputs,
            rung,
            swept.images_seen,
            guides=swept.guides,
        )
        cards.append(scored.card)
    fresh = config.with_values({"evaluation.seed": seeds[1]})
    named = {(choice.omega, choice.sampler): choice for choice in sampling_choices(config)}
    choices = [named[card.omega, card.sampler] for card in cards]
    reports = {
        choice: score_choice(
            swept.averages, swept.schedule, fresh, inputs, choice, full, swept.guides
        )
        for choice in dict.fromkeys(choices)
    }
    grid, halving = (
        Estimate(reports[choice].scores[objective], reports[choice].influence[objective])
        for choice in choices
    )
    labels = reports[choices[0]].labels[objective.partition("/")[2]]
    regret = paired_interval(halving, grid, labels)
    return Comparison(
        swept.label,
        cards[0].omega,
        cards[1].omega,
        grid.value,
        halving.value,
        regret.value,
        regret.low,
        regret.high,
        regret.standard_error,
        grid.interval(labels).high - grid.value,
        cards[1].samples_drawn / cards[0].samples_drawn,
        sum(cards[0].seconds.values()),
        sum(cards[1].seconds.values()),
    )


def overall(rows: Sequence[Comparison]) -> Interval:
    """Return the mean regret over independent noises; the models count as fixed."""
    mean = float(np.mean([row.regret for row in rows]))
    error = float(np.sqrt(np.sum([row.standard_error**2 for row in rows]))) / len(rows)
    return Interval(mean, mean - Z * error, mean + Z * error, error, 0.95, len(rows))


def table_of(rows: Sequence[Comparison], objective: str) -> Table:
    """Return the comparisons for the terminal."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("checkpoint", no_wrap=True, max_width=16)
    for heading in ("grid", "halving", objective, "+-", "regret", "95 % interval", "samples"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            row.checkpoint,
            f"{row.omega_grid:g}",
            f"{row.omega_halving:g}",
            f"{row.value_grid:.2f}",
            f"{row.score_half_width:.2f}",
            f"{row.regret:+.2f}",
            f"[{row.low:+.2f}, {row.high:+.2f}]".replace("[", r"\["),
            f"{row.share:.1%}",
        )
    return table


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--study", type=Path, metavar="DIR", help="folder of a study, for its checkpoints")
    add("--objective", default="fid/all", metavar="SCORE")
    add("--num-samples", type=int, metavar="N", help="the full N (as in the checkpoints)")
    add("--repeats", type=int, default=2, metavar="N", help="noises for each checkpoint (2)")
    add("--out", type=Path, default=Path("omega_search.json"), metavar="FILE")
    args = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    changes: dict[str, Any] = {"evaluation.objectives": [args.objective]}
    if args.num_samples is not None:
        changes["evaluation.num_samples"] = args.num_samples
    console = Console(highlight=False)
    with tempfile.TemporaryDirectory() as scratch:
        if args.study is not None:
            files = study_checkpoints(args.study, ranked_trials(args.study))
        else:
            files = trained_checkpoints(Path(scratch), device)
        swept, inputs = ready_to_sample(files, changes, Path(scratch), device)
        rows = [
            compare(each, inputs, args.objective, repeat)
            for each in swept
            for repeat in range(args.repeats)
        ]
    console.print(table_of(rows, args.objective))
    mean = overall(rows)
    within = sum(row.low <= 0 for row in rows)
    inside = sum(row.regret <= row.score_half_width for row in rows)
    console.print(
        f"Mean regret {mean.value:+.3f} [{mean.low:+.3f}, {mean.high:+.3f}] over {len(rows)} "
        f"searches at N = {swept[0].config.evaluation.num_samples:,}, grid "
        f"{', '.join(f'{omega:g}' for omega in swept[0].config.evaluation.guidance_scales)}; the "
        f"paired interval of {within} includes 0 or lies below it, the regret of {inside} is "
        "within the interval of the grid's score.",
        markup=False,
    )
    drawn = np.mean([row.share for row in rows])
    spent = sum(row.seconds_halving for row in rows) / sum(row.seconds_grid for row in rows)
    console.print(
        f"Halving drew {drawn:.1%} of the grid's samples and took {spent:.0%} of its time."
    )
    content = {
        "objective": args.objective,
        "num_samples": swept[0].config.evaluation.num_samples,
        "guidance_scales": swept[0].config.evaluation.guidance_scales,
        "mean_regret": mean.to_dict(),
        "searches": [asdict(row) for row in rows],
    }
    write_atomically(args.out, json.dumps(plain(content), indent=1))
    console.print(f"written to {args.out}")


if __name__ == "__main__":
    main()
