"""Does the fast way compute what it should? Compiled, recorded bf16 against eager float64.

What a GPU computes is taken from a replayed step itself: its gradient, its weights after a fault,
its losses after a resume, and images drawn by recorded evaluations. bf16 rounds, so distances are
compared with those of the eager bf16 network, which no compiler has touched.

    python -m benchmarks.gpu_correctness
"""

import argparse
import copy
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks import aims
from benchmarks.gpu import device
from benchmarks.measure import Row, experiment, made_images, report
from benchmarks.sizes import sizes
from diffrop.checkpoint_file import read_checkpoint, write_checkpoint
from diffrop.config import ExperimentConfig
from diffrop.diffusion.objective import Draws, Losses, Objective
from diffrop.diffusion.sampling import sample
from diffrop.errors import NonFiniteError
from diffrop.models.compiled import CHUNK, cause_of, dropout_off, gradient_distances
from diffrop.models.precision import working_copy
from diffrop.training.captured import NUM_WARM_UP_STEPS
from diffrop.training.trainer import Trainer

OBJECTIVES: dict[str, dict[str, object]] = {
    "ddpm": {"contrastive__form": "none"},
    "negative_l2": {"contrastive__form": "negative_l2", "contrastive__tau_0": 1.0},
    # At 1.5 times the true distance, every pair is inside the margin: far from the kink.
    "hinge": {
        "contrastive__form": "hinge",
        "contrastive__margin": 1.5,
        "contrastive__tau_0": 10.0,
    },
    "reciprocal": {"contrastive__form": "reciprocal", "contrastive__tau_0": 10.0},
    "exponential": {"contrastive__form": "exponential", "contrastive__tau_0": 10.0},
    "x0 space": {"contrastive__form": "reciprocal", "contrastive__space": "x0"},
    "cbdm": {
        "contrastive__form": "reciprocal",
        "contrastive__tau_0": 10.0,
        "objective__loss": "cbdm",
    },
}
"""Values of a configuration, for each loss whose gradient is compared."""
FLOOR = 1e-3
"""Of `gradient_distances`."""
LOSS_TOLERANCE = 2e-2
MOST_RATIO, MOST_DISTANCE = 1.5, 5e-2
"""Of a fast gradient's distance: over eager bf16's, and itself, relative L2."""
STEPS = NUM_WARM_UP_STEPS + 3
"""Steps after which the step without a gradient ratio is replayed."""


def perturb(*models: nn.Module) -> None:
    """Move weights away from the initialisation, where branches are all but closed."""
    rng = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weights in zip(*(model.parameters() for model in models), strict=True):
            change = 0.03 * torch.randn(weights[0].shape, generator=rng)
            for weight in weights:
                weight.add_(change.to(weight.device))


def loss_and_gradient(
    network: nn.Module, objective: Objective, batch: Sequence[Tensor]
) -> tuple[Losses, list[Tensor]]:
    """Return the losses of a network on a batch and the gradient of their total in its weights.

    The network runs on `CHUNK` images at a time, so that float64 needs no more memory than a step.

    Args:
        network: in evaluation mode, of any dtype.
        objective: whose model it is.
        batch: of `TrainingBatches.at`; its images and noise are taken in the network's dtype if
            that is float64.
    """
    x_0, labels, t, eps, dropped, *others = batch
    if next(network.parameters()).dtype == torch.float64:
        x_0, eps = x_0.double(), eps.double()
    taken: list[tuple[Tensor, ...]] = []
    leaves: list[Tensor] = []

    def predict(*inputs: Tensor) -> Tensor:
        taken.extend(zip(*(tensor.split(CHUNK) for tensor in inputs), strict=True))
        with torch.no_grad():
            output = torch.cat([network(*part) for part in taken])
        leaves.append(output.requires_grad_())
        return output

    losses = objective(
        predict, x_0, labels, Draws(t, eps, dropped, others[0] if others else None), 0
    )
    (cotangent,) = torch.autograd.grad(losses.total, leaves)
    weights = list(network.parameters())
    gradient = [torch.zeros_like(weight) for weight in weights]
    for part, direction in zip(taken, cotangent.split(CHUNK), strict=True):
        found = torch.autograd.grad(network(*part), weights, direction, materialize_grads=True)
        torch._foreach_add_(gradient, found)
    return losses, gradient


def take_steps(trainer: Trainer, count: int) -> list[float]:
    """Take steps and return their DDPM losses.

    Raises:
        RuntimeError: the network was not compiled or a step not recorded; says why.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        losses = [trainer.step()["loss/ddpm"].item() for _ in range(count)]
    failed = [str(w.message) for w in caught if "failed" in str(w.message)]
    if failed:
        raise RuntimeError(failed[0])
    if trainer._network is trainer._working:
        raise RuntimeError("the network was not compiled")
    if count >= STEPS and not trainer._steps._recorded:
        raise RuntimeError("no step was recorded")
    return losses


def gradient_row(what: str, config: ExperimentConfig) -> Row:
    """Compare the gradient of a replayed step, dropout off, with eager float64's."""
    trainer = Trainer(config, made_images(), device())
    perturb(trainer.model)
    objective = copy.deepcopy(trainer.objective)  # the trainer's will be compiled
    take_steps(trainer, STEPS)
    batch = trainer.batches.at(trainer.images_seen)
    exact = copy.deepcopy(trainer.model).eval().double()
    losses, expected = loss_and_gradient(exact, objective, batch)
    _, eager = loss_and_gradient(working_copy(trainer.model, "bf16").eval(), objective, batch)
    with dropout_off(trainer._working):
        measured = trainer.step()
    norm, most = measured["grad_norm"], config.training.gradient_clip_norm
    unclipped = 1 / (most / (norm + 1e-6)).clamp(max=1)
    found = [weight.grad * unclipped for weight in trainer.model.parameters()]  # type: ignore[operator]
    ours, plain = (gradient_distances(way, expected, FLOOR)[0] for way in (found, eager))
    pairs = [(measured["loss/ddpm"], losses.ddpm), (measured.get("loss/cbdm"), losses.cbdm)]
    if losses.contrastive is not None:
        pairs.append((measured["loss/pcl"], losses.contrastive.loss))
    off = max(abs(a.item() / b.item() - 1) for a, b in pairs if a is not None and b is not None)
    reached = ours <= min(MOST_RATIO * plain, MOST_DISTANCE) and off <= LOSS_TOLERANCE
    return Row(
        what=what,
        plain=plain,
        ours=ours,
        unit="",
        ratio=ours / plain,
        aim=aims.GRADIENT.text,
        reached=reached,
        why="" if reached else f"losses are up to {off:.2g} from float64's",
    )


class Resumed:
    """Trainings of a small network that start from one checkpoint."""

    def __init__(self, folder: Path) -> None:
        self.config = small("reciprocal")
        self.first = self._trainer()
        perturb(self.first.model, self.first.ema.model)
        take_steps(self.first, STEPS)
        self.path = folder / "checkpoint.safetensors"
        write_checkpoint(self.path, self.first.checkpoint())
        self.second = self._trainer()

    def _trainer(self) -> Trainer:
        return Trainer(self.config, made_images(), device())

    def resume_row(self) -> Row:
        """Go on from a file, in a fresh training and in the one that wrote it."""
        expected = take_steps(self.first, STEPS)
        ends = []
        for trainer in (self.first, self.second):
            trainer.load(read_checkpoint(self.path, device()))
            ends.append(take_steps(trainer, STEPS))
        off = max(abs(a / b - 1) for end in ends for a, b in zip(end, expected, strict=True))
        return Row(
            what=f"losses of {STEPS} steps after a resume",
            ours=off,
            unit="",
            aim=aims.RESUME.text,
            reached=off <= 1e-3,
        )

    def fault_row(self) -> Row:
        """Give a replayed step images that are NaN: no weight may change from then on."""
        trainer = self.second
        before = [weight.detach().clone() for weight in trainer.model.parameters()]
        images, place = trainer.batches.images, trainer.images_seen
        trainer.batches.images = torch.full_like(images, torch.nan, dtype=torch.float32)
        why = "no error was raised"
        try:
            for _ in range(2):
                trainer.step()
            trainer._check_finite()
        except NonFiniteError as error:
            right = f"images_seen {place} " in str(error)
            why = "" if right else f"the error names another step: {error}"
        trainer.batches.images = images
        changes = [
            (a - b).abs().max().item()
            for a, b in zip(trainer.model.parameters(), before, strict=True)
        ]
        return Row(
            what="change of a weight by two steps with NaN",
            ours=max(changes),
            unit="",
            aim=aims.FAULT.text,
            reached=max(changes) == 0 and not why,
            why=why,
        )

    def samples_row(self) -> Row:
        """Draw images from one noise in three ways; fewer than a batch, which is filled up."""
        trainer, config = self.second, self.config.sampling
        trainer.load(read_checkpoint(self.path, device()))
        average = trainer.ema.model
        low = working_copy(average, "bf16").eval()
        labels = torch.arange(config.batch_size - 4, device=device()) % 10
        shape, null = trainer.dataset.image_shape, trainer.dataset.num_classes

        def draw(model: Callable[..., Tensor]) -> Tensor:
            rng = torch.Generator(device()).manual_seed(0)
            return sample(model, trainer.schedule, config, shape, labels, 1.5, null, rng)

        expected = draw(average)
        eager = draw(lambda *inputs: low(*inputs).float())
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = draw(trainer.averages[None])
        plain, ours = (
            ((images - expected).norm() / expected.norm()).item() for images in (eager, found)
        )
        return Row(
            what=f"images by DDIM-{config.num_steps}, omega 1.5",
            plain=plain,
            ours=ours,
            unit="",
            ratio=ours / plain,
            aim=aims.SAMPLES.text,
            reached=ours <= MOST_RATIO * plain,
        )


def small(objective: str) -> ExperimentConfig:
    """Return a small network at bf16 with one of the losses."""
    model = sizes().small_model
    values: dict[str, Any] = {
        "model__base_channels": model.base_channels,
        "model__channel_multipliers": list(model.channel_multipliers),
        "model__num_res_blocks": model.num_res_blocks,
        "model__attention_resolutions": list(model.attention_resolutions),
        "training__precision": "bf16",
        "sampling__num_steps": 10,
        "sampling__batch_size": 16,
    }
    return experiment(**values, **OBJECTIVES[objective])


def checked(what: str, aim: aims.Aim, check: Callable[[], Row]) -> Row:
    """Return a check's row, or one that says what stopped it."""
    try:
        return check()
    except Exception as error:  # the next check is to run whatever this one met
        return Row(what=what, unit="", aim=aim.text, reached=False, why=cause_of(error))


def rows(folder: Path) -> Iterator[Row]:
    """Check the studies' own network first, then every loss and the rest on a small one."""
    what = "gradient, the studies' network, reciprocal"
    config = experiment(**OBJECTIVES["reciprocal"])
    yield checked(what, aims.GRADIENT, partial(gradient_row, what, config))
    try:
        resumed = Resumed(folder)
    except Exception as error:  # as above
        yield Row(what="resume", aim=aims.RESUME.text, reached=False, why=cause_of(error))
    else:
        yield checked("resume", aims.RESUME, resumed.resume_row)
        yield checked("a step with NaN", aims.FAULT, resumed.fault_row)
        yield checked("samples", aims.SAMPLES, resumed.samples_row)
        del resumed
    for objective in OBJECTIVES:
        what = f"gradient, small network, {objective}"
        yield checked(what, aims.GRADIENT, partial(gradient_row, what, small(objective)))


def main() -> None:
    """Check and print; the exit status is 1 if a check failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, metavar="FILE", help="JSON")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        done = report("gpu_correctness", rows(Path(folder)), {}, args.out)
    failed = [row for row in done if not row.reached]
    if failed:
        first = failed[0]
        raise SystemExit(f"{len(failed)} of {len(done)} checks failed: {first.what}: {first.why}")


if __name__ == "__main__":
    main()
