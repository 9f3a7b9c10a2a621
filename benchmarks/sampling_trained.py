"""What ways to sample make of trained checkpoints: FIDs by evaluations, and what guidance earns.

The checkpoints are those of `sampling_checkpoints.py`, which trains what is missing. Everything is
compared by paired differences, on the same noise and labels; what was scored is kept beside the
checkpoint, so that a killed run goes on. `sampling_quality.py` prints it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.measure import Row
from benchmarks.sampling_checkpoints import checkpoint_of
from diffrop.checkpoint_file import Checkpoint, read_cache, write_checkpoint
from diffrop.checkpoint_header import read_digest
from diffrop.engine.guidance_sweep import SweptCheckpoint, ready_to_sample
from diffrop.metrics import Estimate, paired_interval
from diffrop.metrics.interval import Interval
from diffrop.metrics.report import balanced_labels
from diffrop.scoring.samples import ScoringInputs
from diffrop.scoring.score import score_choice
from diffrop.study.sampling_choice import SamplingChoice, fixed_choice, sampling_choices

STANDARD, MARGIN = "ddim-50", 0.02
AIM = 15
"""Evaluations that are to be enough."""
COMPARED = ("dpmpp-5", "dpmpp-8", "dpmpp-10", "heun-5", "heun-8")
GUIDES = (0.125, 0.25, 0.5)
OMEGAS = (0.5, 1.0, 2.0)
GUIDED = ("", "-guided-0-0.5", "-guided-0.2-0.7", *(f"-guide-{share:g}" for share in GUIDES))
"""Endings of a sampler's name; none is guidance by the null label over all of t."""
GUIDED_BY = "dpmpp-8"
FRESH_SEED = 54_321
"""Of the noise on which guidance is compared; that on which omega is chosen is the recipe's."""


@dataclass
class Scorer:
    """Scores ways to sample one checkpoint, each once."""

    name: str
    swept: SweptCheckpoint
    inputs: ScoringInputs
    num_samples: int
    cache: Path
    """Folder of what was scored."""

    @classmethod
    def of(cls, name: str, folder: Path, data: Path, num_samples: int) -> "Scorer":
        """Return that of a training, whose checkpoint is made where it is missing."""
        path = checkpoint_of(name, folder, data)
        changes = {"evaluation.guides": [None, *GUIDES]}  # all that may be asked for
        swept, inputs = ready_to_sample({name: path}, changes, folder, torch.device("cpu"))
        return cls(name, swept[0], inputs, num_samples, folder / name / read_digest(path)[:16])

    @property
    def labels(self) -> Tensor:
        """Of the samples (N,)."""
        return balanced_labels(self.num_samples, self.inputs.dataset.num_classes)

    def choice(self, sampler: str, omega: float) -> SamplingChoice:
        """Return the choice of a sampler's name and an omega."""
        (found,) = sampling_choices(fixed_choice(self.swept.config, omega, sampler))
        return found

    def score(self, sampler: str, omega: float) -> Estimate:
        """Return the FID of all classes, with each sample's influence on it."""
        choice, config = self.choice(sampler, omega), self.swept.config
        how = f"{choice.sampler}_{omega:g}_{self.num_samples}_{config.evaluation.seed}"
        path = self.cache / f"{how}.safetensors"

        def stored(kept: Checkpoint) -> Estimate:
            return Estimate(kept.card["fid"], kept.tensors["influence"])

        if (known := read_cache(path, stored)) is not None:
            return known
        swept = self.swept
        source = swept.averages, swept.schedule, config, self.inputs, choice, self.num_samples
        found = score_choice(*source, swept.guides)
        fid, influence = found.scores["fid/all"], found.influence["fid/all"]
        write_checkpoint(path, Checkpoint({"influence": influence}, {"fid": fid}))
        print(f"{self.name}, {choice.sampler}, omega {omega:g}: FID {fid:.2f}", flush=True)
        return Estimate(fid, influence)

    def excess(self, ours: Estimate, other: Estimate) -> Interval:
        """Return by what share of it a FID exceeds another, with the paired 95 % interval."""
        found, by = paired_interval(ours, other, self.labels), other.value
        return replace(found, value=found.value / by, low=found.low / by, high=found.high / by)

    def with_noise(self, seed: int) -> "Scorer":
        """Return one that draws from another noise."""
        config = self.swept.config.with_values({"evaluation.seed": seed})
        return replace(self, swept=replace(self.swept, config=config))


def evaluation_rows(scorer: Scorer, omega: float) -> Iterator[Row]:
    """Compare samplers with DDIM-50, and with DDIM at as many evaluations.

    A sampler is near where the paired 95 % upper bound of its FID lies within 2 % of DDIM-50's;
    the last row has the fewest evaluations with which one is, and whether it is surely better
    than DDIM there.

    Args:
        scorer: of a checkpoint.
        omega: of all; evaluations are counted without guidance, which doubles all alike.
    """
    standard = scorer.score(STANDARD, omega)
    about = f"{scorer.name}, omega {omega:g}, N = {scorer.num_samples:,}"
    enough: list[int] = []
    for sampler in COMPARED:
        choice = scorer.choice(sampler, 0.0)
        alike = scorer.score(f"ddim-{choice.evaluations}", omega)
        ours = scorer.score(sampler, omega)
        over, over_alike = (scorer.excess(each, standard) for each in (ours, alike))
        if over.high <= MARGIN:
            enough.append(choice.evaluations)
        what = (
            f"{about}: {sampler} ({spread(over)} of {STANDARD}'s {standard.value:.3g}), "
            f"beside ddim-{choice.evaluations} ({spread(over_alike)})"
        )
        yield fid_row(what, alike, ours)
    least = min(enough, default=None)
    better = least is not None and any(
        scorer.excess(scorer.score(sampler, omega), scorer.score(f"ddim-{least}", omega)).high < 0
        for sampler in COMPARED
        if scorer.choice(sampler, 0.0).evaluations == least
    )
    yield Row(
        what=f"{about}: evaluations within {MARGIN:.0%} of {STANDARD}",
        plain=50,
        ours=least,
        unit="",
        ratio=None if least is None else least / 50,
        aim=f"<= {AIM}, better than DDIM",
        reached=least is not None and least <= AIM and better,
    )


def guidance_rows(scorer: Scorer) -> Iterator[Row]:
    """Compare no guidance, intervals and guides with guidance by the null label over all of t.

    Each is at the omega that is its best on other noise than the differences are measured on.
    """
    fresh = scorer.with_noise(FRESH_SEED)
    kinds = [f"{GUIDED_BY}{ending}" for ending in GUIDED]
    best = {kind: min(OMEGAS, key=lambda omega: scorer.score(kind, omega).value) for kind in kinds}
    plain = fresh.score(kinds[0], best[kinds[0]])
    for kind, omega in {f"{GUIDED_BY} unguided": 0.0, **best}.items():
        sampler = kind.removesuffix(" unguided")
        found = fresh.score(sampler, omega)
        count = fresh.choice(sampler, omega).evaluations
        over = fresh.excess(found, plain)
        what = (
            f"{scorer.name}, N = {scorer.num_samples:,}: {kind} at omega {omega:g}, "
            f"{count} evaluations ({spread(over)})"
        )
        yield fid_row(what, plain, found)


def fid_row(what: str, plain: Estimate, ours: Estimate) -> Row:
    """Return the row of a FID beside what it is compared with."""
    ratio = ours.value / plain.value
    return Row(what=what, plain=plain.value, ours=ours.value, unit="FID", ratio=ratio)


def spread(excess: Interval) -> str:
    """Return a share with its interval in per cent."""
    return f"{excess.value:+.1%} [{excess.low:+.1%}, {excess.high:+.1%}]"
