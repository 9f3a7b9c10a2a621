"""The training loop: one for CPU and GPU, one worker or several."""

import functools
import gc
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from diffrop import distributed
from diffrop.checkpoint_file import Checkpoint
from diffrop.config import ExperimentConfig
from diffrop.cuda_graph import CudaCapture
from diffrop.data import Dataset
from diffrop.data.augmentation import augmented
from diffrop.data.batches import ImageOrder
from diffrop.diffusion.cbdm import draw_other_labels, other_label_probabilities
from diffrop.diffusion.denoiser import FastDenoiser
from diffrop.diffusion.objective import Draws, Losses, Objective, draw
from diffrop.diffusion.sampling import from_uint8
from diffrop.diffusion.schedule import NoiseSchedule
from diffrop.errors import CheckpointError, NonFiniteError, OutOfMemoryError
from diffrop.models.compiled import Network, compile_checked
from diffrop.models.precision import copy_weights, working_copy
from diffrop.provenance import git_commit, package_versions
from diffrop.seeds import DROPOUT, INITIAL, OTHER_LABELS, STEP, derive_seed, generator
from diffrop.training.captured import NUM_REHEARSALS, CapturedSteps, Measures
from diffrop.training.checkpoint import average_part, config_of
from diffrop.training.ema import PowerAverage, WeightAverage
from diffrop.training.fork import check_fork, objective_goes_on
from diffrop.training.gradients import Gradients
from diffrop.training.identity import differences
from diffrop.training.network import build_network, check_batch_fits_workers

GPU_STEPS_BETWEEN_CHECKS = 50
"""Steps after which a GPU is asked whether a loss was non-finite: asking waits for it. From the
faulty step on nothing changes a weight, so that a late answer loses no state."""


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
        if device.type == "cuda":
            gc.collect()  # an earlier trial's graphs hold their memory until then
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
        self._gradients = Gradients(self.model)
        self.optimizer = self._make_optimizer()
        self.schedule = NoiseSchedule.linear(config.diffusion).to(device)
        class_counts = dataset.train.class_counts
        self.objective = Objective(
            config.diffusion,
            config.contrastive,
            self.schedule,
            torch.tensor(class_counts, device=device),
            config.objective,
        )
        self.objective.to(device)
        self._images = dataset.train.images.to(device)
        self._labels = dataset.train.labels.to(device)
        self._order = ImageOrder(
            dataset.train.labels, config.data.class_sampling, config.training.seed, device
        )
        self._other_labels = other_label_probabilities(config.objective, class_counts).to(device)
        self._working: nn.Module = self.model
        if config.training.precision == "bf16":
            self._working = working_copy(self.model, "bf16")
        self._network: Network = self._working
        self._position = torch.zeros((), dtype=torch.float64, device=device)
        self._fault = torch.zeros(4, dtype=torch.float64, device=device)
        """Of the first non-finite step: images seen, DDPM loss, total loss, gradient norm."""
        self._unchecked_steps = 0
        self._start_fast()

    def _make_optimizer(self) -> torch.optim.Adam:
        """Adam that changes nothing while `_faulty` is 1; on a GPU its rate is in its memory."""
        rate: float | Tensor = self.config.training.learning_rate
        on_gpu = self.device.type == "cuda"
        if on_gpu:
            rate = torch.tensor(rate, device=self.device)
        optimizer = torch.optim.Adam(
            self.model.parameters(), lr=rate, fused=True, capturable=on_gpu
        )
        # Rehearsals, and worker groups, step without a recording, of which torch would warn.
        optimizer._warned_capturable_if_run_uncaptured = True
        self._faulty = torch.zeros((), device=self.device)
        optimizer.found_inf = self._faulty  # type: ignore[attr-defined]
        return optimizer

    def _start_fast(self) -> None:
        """Prepare compilation and CUDA graphs, where the configuration and the device have them.

        Worker groups compile but do not record: their steps hold collectives.
        """
        on_gpu, wanted = self.device.type == "cuda", self.config.training.compile
        self._to_compile = self._compiles = on_gpu if wanted is None else wanted
        records = self._compiles and on_gpu
        alone = distributed.world_size() == 1
        self._steps = CapturedSteps(
            CudaCapture(self.device) if records and alone else None, self._state
        )
        self.optimizer.register_load_state_dict_post_hook(lambda _: self._start_anew())
        self._denoiser: FastDenoiser | None = None
        if self._compiles:
            torch.compiler.reset()  # or an earlier trial's networks would count to its limit
            self._denoiser = FastDenoiser(
                self.ema.model, self.config.training.precision,
                self.config.sampling.batch_size,
                CudaCapture(self.device) if records else None,
            )  # fmt: skip

    @property
    def num_settling_steps(self) -> int:
        """Steps after which every later one takes the same time: 0 where nothing is compiled."""
        return NUM_REHEARSALS + 1 if self._compiles else 0

    def _start_anew(self) -> None:
        """After a checkpoint was loaded: the optimiser's tensors are others, faults are past."""
        self._steps.forget()
        self._faulty.zero_()

    def step(self) -> dict[str, Tensor]:
        """Train on one global batch; return this worker's losses and norms as scalars.

        Raises:
            NonFiniteError: a loss or gradient was NaN or infinite, in this step or, on a GPU, in
                one of the last few; no weight was changed since, and `images_seen` is its place.
            OutOfMemoryError: the device had too little memory.
        """
        training = self.config.training
        for module in (self.model, self._working, self.objective):
            module.train()
        try:
            if self._to_compile:
                self._compile()
            batch = self._batch()
            self._set_clock()
            measured = self._train_on(batch)
        except torch.OutOfMemoryError as error:
            raise OutOfMemoryError(
                f"out of memory at batch_size {training.batch_size} over "
                f"{distributed.world_size()} worker(s); lower training.batch_size or "
                "model.base_channels, or give a trial more workers"
            ) from error
        self.images_seen += training.batch_size
        self._unchecked_steps += 1
        if self.device.type == "cpu" or self._unchecked_steps >= GPU_STEPS_BETWEEN_CHECKS:
            self._check_finite()
        return measured

    def _set_clock(self) -> None:
        """Write what the coming step takes from the count of images into the device's memory."""
        training = self.config.training
        after = self.images_seen + training.batch_size
        rate = training.learning_rate * min(1.0, after / max(1, training.warmup_images))
        for group in self.optimizer.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate
        self.ema.set_time(training.batch_size, self.images_before + after)
        for average in self.power_averages.values():
            average.set_time(training.batch_size, after)
        self._position.fill_(self.images_seen)

    def _train_on(self, batch: list[Tensor]) -> Measures:
        """Do the step in one or, where the gradient ratio is measured, two parts."""
        training, position = self.config.training, self.images_seen
        seed = derive_seed(training.seed, DROPOUT, position, distributed.rank())
        active = self.objective.pcl is not None and position >= self.objective.start_images
        step = position // training.batch_size
        with_ratio = active and step % training.grad_ratio_every_steps == 0
        if with_ratio:
            self._steps.run(("contrastive gradient",), self._contrastive_gradient, batch, seed)
        update = functools.partial(self._update, with_ratio=with_ratio)
        return self._steps.run(("update", active, with_ratio), update, batch, seed)

    def _contrastive_gradient(self, batch: Sequence[Tensor]) -> Measures:
        """Put the gradient of the contrastive term alone where `_update` looks for it.

        With a forward pass of its own: keeping the step's activations for two backward passes
        would cost more memory than the step.
        """
        assert self.objective.pcl is not None
        quantile = self.objective.pcl.margin_quantile
        before = quantile.clone()  # the update's own forward pass moves it
        self._refresh()
        terms = self._losses(batch).contrastive
        assert terms is not None
        self._gradients.take(self._gradient_of(terms.loss))
        quantile.copy_(before)
        return {"norm": self._gradients.flat.norm()}

    def _update(self, batch: Sequence[Tensor], with_ratio: bool) -> Measures:
        """Forward, backward, clip, Adam and averages: on a GPU one graph, with no word to the CPU.

        Args:
            batch: what `_batch` returned.
            with_ratio: whether the gradients hold that of the contrastive term, to be compared.
        """
        self._refresh()
        losses = self._losses(batch)
        measured = self._measures(losses)
        gradient = self._gradient_of(losses.total)
        pcl_gradient = self._gradients.flat.clone() if with_ratio else None
        self._gradients.take(gradient)
        if pcl_gradient is not None:
            rest = self._gradients.flat - pcl_gradient  # of DDPM and CBDM, before clipping
            measured["pcl/grad_ratio"] = pcl_gradient.norm() / rest.norm()
        norm = self._gradients.clip(self.config.training.gradient_clip_norm)
        measured["grad_norm"] = norm
        self._note_fault(losses, norm)
        self.optimizer.step()
        for average in (self.ema, *self.power_averages.values()):
            average.follow(self.model, skip=self._faulty)
        return measured

    def _gradient_of(self, loss: Tensor) -> Sequence[Tensor]:
        """Of the weights that the network computes with."""
        return torch.autograd.grad(loss, list(self._working.parameters()), materialize_grads=True)

    def _refresh(self) -> None:
        if self._working is not self.model:
            copy_weights(self._working, self.model)

    @torch.no_grad()
    def _note_fault(self, losses: Losses, norm: Tensor) -> None:
        """Set `_faulty` for good if a loss or gradient is non-finite, and keep where it was."""
        total = losses.total
        # Summed over workers, so that all of them stop at the same step.
        finite = torch.isfinite(distributed.all_reduce_sum(norm + total))
        now = torch.stack([self._position, *(x.double() for x in (losses.ddpm, total, norm))])
        first = ~finite & (self._faulty == 0)
        self._fault.copy_(torch.where(first, now, self._fault))
        self._faulty.copy_(torch.maximum(self._faulty, (~finite).float()))

    def _check_finite(self) -> None:
        """Raise NonFiniteError if some step up to now was faulty."""
        self._unchecked_steps = 0
        if not self._faulty.item():
            return
        position, ddpm, total, norm = self._fault.tolist()
        self.images_seen = int(position)
        raise NonFiniteError(
            f"non-finite loss or gradient at images_seen {self.images_seen} (step "
            f"{self.images_seen // self.config.training.batch_size}): loss/ddpm {ddpm:.4g}, "
            f"total {total:.4g}, gradient norm {norm:.4g}"
        )

    def _state(self) -> dict[str, list[Tensor]]:
        """All that a step changes and a later one depends on, for `CapturedSteps`."""
        averages = (self.ema, *self.power_averages.values())
        moments = self.optimizer.state.values()
        names = sorted({name for moment in moments for name in moment})
        return {
            "weights": [weight.data for weight in self.model.parameters()],
            "averages": [w for average in averages for w in average.model.parameters()],
            **{f"optimiser {name}": [moment[name] for moment in moments] for name in names},
            "objective": list(self.objective.state_dict().values()),
            "gradient": [self._gradients.flat],
            "faults": [self._fault, self._faulty],
        }

    def _compile(self) -> None:
        """Compile the network and the contrastive loss, at the first step."""
        self._to_compile = False
        size = self.config.training.batch_size // distributed.world_size()
        rng = torch.Generator(self.device).manual_seed(0)
        shape = (size, *self.dataset.image_shape)
        x_t, eps = (torch.randn(shape, generator=rng, device=self.device) for _ in range(2))
        steps, null = self.config.diffusion.num_timesteps, self.dataset.num_classes
        t, labels = (
            torch.randint(high, (size,), generator=rng, device=self.device)
            for high in (steps, null + 1)
        )
        inputs = [x_t, t, labels]
        if self.model.augmentation is not None:
            width = self.model.augmentation.in_features
            inputs.append(torch.randn(size, width, generator=rng, device=self.device))
        if self.config.objective.loss == "cbdm":  # two branches, as one batch
            inputs = [torch.cat([tensor, tensor]) for tensor in inputs]
        self._refresh()
        self._network = compile_checked(self._working, self.model, inputs)
        if self._network is self._working:
            if self._denoiser is not None:
                self._denoiser.compiles = False
        elif self.objective.pcl is not None and distributed.world_size() == 1:
            # In the dtype and layout in which the network gives it.
            eps_theta = self._network(*inputs).detach()[:size]
            self.objective.pcl.compile_checked(x_t, t, labels, eps, eps_theta)

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
            due = self._crossed(before, training.checkpoint_every_images)
            if self._crossed(before, training.log_every_images) or self.images_seen >= images:
                self._check_finite()
                row = self._means(rows)
                elapsed = time.monotonic() - since
                row["images_per_s"] = len(rows) * training.batch_size / elapsed
                log({"images_seen": self.images_seen, **row})
                rows, since = [], time.monotonic()
            if due and self.images_seen < images:
                self._check_finite()
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
        weights = list(self.model.parameters())
        for name, tensor in checkpoint.part("optimizer").items():
            index, key = name.split(".")
            weight = weights[int(index)]
            if tensor.shape == weight.shape:  # fused Adam wants moments in the weight's layout
                tensor = torch.empty_like(weight).copy_(tensor)
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
        """The averages of the weights by their relative length; None is the exponential.

        Where training is compiled they are evaluated at its precision and speed.
        """
        models: dict[float | None, nn.Module] = {None: self.ema.model}
        models |= {length: average.model for length, average in self.power_averages.items()}
        if self._denoiser is None:
            return models
        return {length: self._denoiser.of(model) for length, model in models.items()}

    def _batch(self) -> list[Tensor]:
        """Draw the batch at `images_seen`, on the device: what `_losses` takes."""
        config, size = self.config, self.config.training.batch_size
        seed, position = config.training.seed, self.images_seen
        rng = generator(self.device, seed, STEP, position)
        indices = distributed.own_share(self._order.indices(position, size))
        draws = draw(config.diffusion, (size, *self.dataset.image_shape), rng)
        x_0, labels = from_uint8(self._images[indices]), self._labels[indices]
        if config.data.horizontal_flip:
            flips = torch.rand(size, generator=rng, device=self.device) < 0.5
            mirrored = distributed.own_share(flips)[:, None, None, None]
            x_0 = torch.where(mirrored, x_0.flip(-1), x_0)
        x_0, inputs = augmented(config.augmentation, x_0, size, seed, position)
        batch = [x_0.contiguous(), labels, draws.t, draws.eps, draws.dropped]
        if config.objective.loss == "cbdm":
            rng = generator(self.device, seed, OTHER_LABELS, position)
            batch.append(draw_other_labels(self._other_labels, size, rng))
        if inputs is not None:
            batch.append(inputs)
        return batch

    def _losses(self, batch: Sequence[Tensor]) -> Losses:
        x_0, labels, t, eps, dropped, *rest = batch
        others = rest.pop(0) if self.config.objective.loss == "cbdm" else None
        draws = Draws(t, eps, dropped, others, rest[0] if rest else None)
        return self.objective(self._predict, x_0, labels, draws, self.images_seen)

    def _predict(self, *inputs: Tensor) -> Tensor:
        return self._network(*inputs)

    def _measures(self, losses: Losses) -> Measures:
        measured = {"loss/ddpm": losses.ddpm.detach()}
        if losses.cbdm is not None:
            measured["loss/cbdm"] = losses.cbdm.detach()
        if losses.contrastive is not None:
            terms = losses.contrastive
            measured |= {"loss/pcl": terms.loss.detach(), "pcl/num_pairs": terms.num_pairs}
            if self.config.contrastive.form == "hinge":
                measured["pcl/active_share"] = terms.active_share
        return measured

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
