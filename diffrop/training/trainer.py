"""The training loop: one for CPU and GPU, one worker or several."""

import dataclasses
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
import torch._dynamo.exc
import torch._inductor.exc
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from diffrop import distributed
from diffrop.config import ExperimentConfig
from diffrop.data import Dataset
from diffrop.data.augmentation import augmented
from diffrop.data.batches import ImageOrder
from diffrop.diffusion.cbdm import draw_other_labels
from diffrop.diffusion.objective import Losses, Objective, draw
from diffrop.diffusion.sampling import from_uint8
from diffrop.diffusion.schedule import NoiseSchedule
from diffrop.errors import CheckpointError, NonFiniteError, OutOfMemoryError
from diffrop.models.unet import UNet
from diffrop.provenance import git_commit, package_versions
from diffrop.seeds import DROPOUT, INITIAL, OTHER_LABELS, STEP, derive_seed, generator
from diffrop.training.checkpoint import Checkpoint, average_part, config_of
from diffrop.training.ema import PowerAverage, WeightAverage
from diffrop.training.fork import check_fork, objective_goes_on
from diffrop.training.identity import differences
from diffrop.training.network import build_network

COMPILE_ERRORS = (torch._dynamo.exc.TorchDynamoException, torch._inductor.exc.InductorError)


class Trainer:
    """A model in training; `images_seen` is its clock.

    Every random choice is derived from the seed and `images_seen`, so that a state of tensors and
    that count is all a bitwise resume needs. Several workers draw for the global batch and take
    their shares, so that their number does not change the losses (but for dropout masks).
    """

    def __init__(self, config: ExperimentConfig, dataset: Dataset, device: torch.device) -> None:
        """Build a fresh model on `device`.

        Raises:
            ValueError: the network does not fit the images, or the batch the workers.
        """
        self.config, self.dataset, self.device = config, dataset, device
        self.images_seen = 0
        self.images_before = 0
        """Images seen by the training that `init_from` names; the average's ramp counts them."""
        check_batch_fits_workers(config, distributed.world_size())
        torch.backends.cudnn.allow_tf32 = config.training.precision != "fp32"
        torch.manual_seed(derive_seed(config.training.seed, INITIAL))
        self.model = build_network(config, dataset.num_classes, dataset.image_shape).to(device)
        layout = torch.channels_last if device.type == "cuda" else torch.contiguous_format
        self.model.to(memory_format=layout)
        self.ema = WeightAverage(
            self.model, config.training.ema_half_life_images, config.training.ema_ramp
        )
        self.power_averages = {
            length: PowerAverage(self.model, length) for length in config.training.ema_lengths
        }
        self.optimizer = torch.optim.Adam(
            self.model.parameters(), lr=config.training.learning_rate, fused=True
        )
        self.schedule = NoiseSchedule.linear(config.diffusion).to(device)
        self._class_counts = dataset.train.class_counts
        counts = torch.tensor(self._class_counts, device=device)
        self.objective = Objective(
            config.diffusion, config.contrastive, self.schedule, counts, config.objective
        )
        self.objective.to(device)
        self._images = dataset.train.images.to(device)
        self._labels = dataset.train.labels.to(device)
        self._order = ImageOrder(
            dataset.train.labels, config.data.class_sampling, config.training.seed
        )
        self._network: nn.Module = self.model
        if distributed.world_size() > 1:
            self._network = DistributedDataParallel(self.model)
        if config.training.compile:
            self._network = torch.compile(self._network)  # type: ignore[assignment]

    def step(self) -> dict[str, Tensor]:
        """Train on one global batch; return this worker's losses and norms as scalars.

        Raises:
            NonFiniteError: a loss or gradient was NaN or infinite; no weight was changed.
            OutOfMemoryError: the device had too little memory.
        """
        training = self.config.training
        self.model.train()
        self.objective.train()
        try:
            losses = self._losses()
            measured = {"loss/ddpm": losses.ddpm.detach()}
            if losses.cbdm is not None:
                measured["loss/cbdm"] = losses.cbdm.detach()
            if losses.contrastive is not None:
                measured |= self._contrastive_measures(losses)
            pcl_gradient = self._pcl_gradient(losses)
            self.optimizer.zero_grad(set_to_none=True)
            losses.total.backward()
        except torch.OutOfMemoryError as error:
            raise OutOfMemoryError(
                f"out of memory at batch_size {training.batch_size} over "
                f"{distributed.world_size()} worker(s); lower training.batch_size or "
                "model.base_channels, or give a trial more workers"
            ) from error
        if pcl_gradient is not None:
            measured["pcl/grad_ratio"] = self._gradient_ratio(pcl_gradient)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), training.gradient_clip_norm)
        measured["grad_norm"] = norm
        # Summed over workers, so that all of them stop at the same step.
        if not torch.isfinite(distributed.all_reduce_sum(norm + losses.total.detach())):
            raise NonFiniteError(
                f"non-finite loss or gradient at images_seen {self.images_seen} (step "
                f"{self.images_seen // training.batch_size}): loss/ddpm "
                f"{losses.ddpm.item():.4g}, total {losses.total.item():.4g}, gradient norm "
                f"{norm.item():.4g}"
            )
        self.images_seen += training.batch_size
        warm = min(1.0, self.images_seen / max(1, training.warmup_images))
        for group in self.optimizer.param_groups:
            group["lr"] = training.learning_rate * warm
        self.optimizer.step()
        self.ema.update(self.model, training.batch_size, self.images_before + self.images_seen)
        for average in self.power_averages.values():
            average.update(self.model, training.batch_size, self.images_seen)
        return measured

    def train_until(
        self,
        images: int,
        log: Callable[[dict[str, float]], None] = lambda row: None,
        save: Callable[[], object] = lambda: None,
        check: Callable[[], object] = lambda: None,
    ) -> None:
        """Train until `images_seen` is at least `images`.

        Args:
            images: the clock's target.
            log: receives the means over each `log_every_images`, on every worker.
            save: called every `checkpoint_every_images` before the target.
            check: called after every step before the target; may raise to end the training.
        """
        training = self.config.training
        rows: list[dict[str, Tensor]] = []
        since = time.monotonic()
        while self.images_seen < images:
            before = self.images_seen
            rows.append(self.step())
            if self._crossed(before, training.log_every_images) or self.images_seen >= images:
                row = self._means(rows)
                elapsed = time.monotonic() - since
                row["images_per_s"] = len(rows) * training.batch_size / elapsed
                log({"images_seen": self.images_seen, **row})
                rows, since = [], time.monotonic()
            due = self._crossed(before, training.checkpoint_every_images)
            if due and self.images_seen < images:
                save()
            if self.images_seen < images:
                check()

    def checkpoint(self) -> Checkpoint:
        """Return the whole state: model, EMA, optimiser, running margins, and the card."""
        tensors = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        tensors |= {f"ema.{k}": v for k, v in self.ema.model.state_dict().items()}
        for length, average in self.power_averages.items():
            part = average_part(length)
            tensors |= {f"{part}.{k}": v for k, v in average.model.state_dict().items()}
        tensors |= {f"objective.{k}": v for k, v in self.objective.state_dict().items()}
        for index, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{k}": torch.as_tensor(v) for k, v in state.items()}
        return Checkpoint({k: v.detach().clone() for k, v in tensors.items()}, self._card())

    def load(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint of the same training.

        Raises:
            CheckpointError: its configuration, data or network is another.
        """
        self._check_same_training(checkpoint.card)
        self._restore(checkpoint)
        self.objective.load_state_dict(checkpoint.part("objective"))

    def fork(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint of another training, under this one's configuration.

        Weights, averages, optimiser and clock are taken over: from here on the training is the
        one that would have changed its configuration at this point. So are running margins, if
        they mean the same in both.

        Raises:
            CheckpointError: images, network, forward process, averages or batches do not fit.
        """
        try:
            check_fork(checkpoint.card, self.config, self.dataset)
        except ValueError as error:
            raise CheckpointError(f"cannot start from a checkpoint: {error}") from error
        self._restore(checkpoint)
        if objective_goes_on(config_of(checkpoint.card), self.config):
            self.objective.load_state_dict(checkpoint.part("objective"))

    def _restore(self, checkpoint: Checkpoint) -> None:
        """Take over all but the objective's state."""
        card = checkpoint.card
        self.images_seen = card["images_seen"]
        self.images_before = card.get("images_before", 0)
        self.model.load_state_dict(checkpoint.part("model"))
        self.ema.model.load_state_dict(checkpoint.part("ema"))
        for length, average in self.power_averages.items():
            average.model.load_state_dict(checkpoint.part(average_part(length)))
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in checkpoint.part("optimizer").items():
            index, key = name.split(".")
            state.setdefault(int(index), {})[key] = tensor
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})

    def start_from(self, checkpoint: Checkpoint) -> None:
        """Take the weights and their average from another training; the rest starts afresh.

        The average's ramp goes on from that training's length, or it would forget it at once.
        """
        self.model.load_state_dict(checkpoint.part("model"))
        self.ema.model.load_state_dict(checkpoint.part("ema"))
        card = checkpoint.card
        self.images_before = card["images_seen"] + card.get("images_before", 0)

    @property
    def averages(self) -> dict[float | None, nn.Module]:
        """The averages of the weights by their relative length; None is the exponential."""
        found: dict[float | None, nn.Module] = {None: self.ema.model}
        return found | {length: power.model for length, power in self.power_averages.items()}

    def _losses(self) -> Losses:
        config, size = self.config, self.config.training.batch_size
        seed, position = config.training.seed, self.images_seen
        rng = generator(self.device, seed, STEP, position)
        indices = distributed.own_share(self._order.indices(position, size)).to(self.device)
        draws = draw(config.diffusion, (size, *self.dataset.image_shape), rng)
        x_0, labels = from_uint8(self._images[indices]), self._labels[indices]
        if config.data.horizontal_flip:
            flips = torch.rand(size, generator=rng, device=self.device) < 0.5
            mirrored = distributed.own_share(flips)[:, None, None, None]
            x_0 = torch.where(mirrored, x_0.flip(-1), x_0)
        x_0, inputs = augmented(config.augmentation, x_0, size, seed, position)
        others = None
        if config.objective.loss == "cbdm":
            rng = generator(self.device, seed, OTHER_LABELS, position)
            others = draw_other_labels(config.objective, self._class_counts, size, rng)
        draws = dataclasses.replace(draws, other_labels=others, augmentation=inputs)
        torch.manual_seed(derive_seed(seed, DROPOUT, position, distributed.rank()))
        return self.objective(self._predict, x_0, labels, draws, position)

    def _predict(self, *inputs: Tensor) -> Tensor:
        bf16 = self.config.training.precision == "bf16"
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=bf16):
            try:
                noise: Tensor = self._network(*inputs)
            except COMPILE_ERRORS as error:
                cause = " ".join(str(error).split())[:300]
                message = f"torch.compile failed, training goes on eagerly: {cause}"
                warnings.warn(message, stacklevel=2)
                self._network = self._network._orig_mod  # type: ignore[assignment]
                noise = self._network(*inputs)
        return noise

    def _contrastive_measures(self, losses: Losses) -> dict[str, Tensor]:
        terms = losses.contrastive
        assert terms is not None
        measured = {"loss/pcl": terms.loss.detach(), "pcl/num_pairs": terms.num_pairs}
        if self.config.contrastive.form == "hinge":
            measured["pcl/active_share"] = terms.active_share
        return measured

    def _pcl_gradient(self, losses: Losses) -> Tensor | None:
        """The contrastive gradient alone, flat, on the steps at which its ratio is logged."""
        step = self.images_seen // self.config.training.batch_size
        if losses.contrastive is None or step % self.config.training.grad_ratio_every_steps:
            return None
        if not losses.contrastive.loss.requires_grad:
            return None
        parameters = list(self.model.parameters())
        grads = torch.autograd.grad(
            losses.contrastive.loss, parameters, retain_graph=True, materialize_grads=True
        )
        flat = torch.cat([grad.flatten() for grad in grads])
        return distributed.all_reduce_sum(flat) / distributed.world_size()

    def _gradient_ratio(self, pcl_gradient: Tensor) -> Tensor:
        """Norm of the PCL gradient over that of all other losses (DDPM, CBDM), before clipping."""
        total = torch.cat(
            [p.grad.flatten() for p in self.model.parameters() if p.grad is not None]
        )
        return pcl_gradient.norm() / (total - pcl_gradient).norm()

    def _crossed(self, before: int, every: int) -> bool:
        return before // every != self.images_seen // every

    @staticmethod
    def _means(rows: list[dict[str, Tensor]]) -> dict[str, float]:
        """Means over steps and workers; a measure counts only where it was taken."""
        names = sorted({name for row in rows for name in row})
        sums = [
            torch.stack([row[name].float() for row in rows if name in row]).mean()
            for name in names
        ]
        total = distributed.all_reduce_sum(torch.stack(sums)) / distributed.world_size()
        return dict(zip(names, total.tolist(), strict=True))

    def _card(self) -> dict[str, Any]:
        train = self.dataset.train
        return {
            "config": self.config.to_dict(),
            "images_seen": self.images_seen,
            "images_before": self.images_before,
            "dataset": self.dataset.name,
            "data_digest": self.dataset.train_digest,
            "world_size": distributed.world_size(),
            "image_shape": list(self.dataset.image_shape),
            "class_names": list(train.class_names),
            "class_counts": train.class_counts,
            "git_commit": git_commit(),
            "versions": package_versions(),
        }

    def _check_same_training(self, card: dict[str, Any]) -> None:
        """Refuse a checkpoint that this training could not have produced."""
        if card["data_digest"] != self.dataset.train_digest:
            raise CheckpointError("the checkpoint was trained on other images than this run's")
        # Keys that a checkpoint is too old to know had their default.
        differing = differences(config_of(card), self.config)
        if differing:
            raise CheckpointError(
                f"the checkpoint has another configuration: {'; '.join(differing)}"
            )


def check_batch_fits_workers(config: ExperimentConfig, num_workers: int) -> None:
    """Raise ValueError unless the global batch divides among workers, in whole groups."""
    group = config.diffusion.group_size if config.diffusion.timesteps == "grouped" else 1
    if config.training.batch_size % (num_workers * group):
        raise ValueError(
            f"batch_size is {config.training.batch_size} over {num_workers} worker(s); allowed: "
            f"a multiple of workers times group size, {num_workers * group}"
        )


def load_ema(
    checkpoint: Checkpoint, device: torch.device, ema_length: float | None = None
) -> UNet:
    """Return a checkpoint's averaged network, ready to sample from.

    `ema_length` is one of its `training.ema_lengths`; None is the exponential average.
    """
    card = checkpoint.card
    channels, height, width = card["image_shape"]
    model = build_network(config_of(card), len(card["class_names"]), (channels, height, width))
    model.load_state_dict(checkpoint.part(average_part(ema_length)))
    return model.to(device).eval().requires_grad_(False)
