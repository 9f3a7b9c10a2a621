"""The training loop: one for CPU and GPU, one worker or several."""

import functools
import gc
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from diffrop import distributed
from diffrop.config import ExperimentConfig
from diffrop.cuda_graph import CudaCapture
from diffrop.data import Dataset
from diffrop.diffusion.denoiser import FastDenoiser
from diffrop.diffusion.objective import Losses
from diffrop.memory import out_of_memory_as
from diffrop.models.compiled import Network, compile_checked
from diffrop.models.precision import copy_weights, working_copy
from diffrop.power_average import is_snapshot_time
from diffrop.seeds import DROPOUT, derive_seed
from diffrop.training.batches import TrainingBatches
from diffrop.training.captured import NUM_WARM_UP_STEPS, CapturedSteps, Measured
from diffrop.training.gradients import Gradients
from diffrop.training.network import check_batch_fits_workers
from diffrop.training.state import TrainingState

GPU_STEPS_BETWEEN_CHECKS = 50
"""Steps after which a GPU is asked whether a loss was non-finite: asking waits for it. From the
faulty step on nothing changes a weight, so that a late answer loses no state."""


class Trainer(TrainingState):
    """A training and the step that moves it on; `images_seen` is its clock.

    Several workers draw for the global batch and take their shares, so that their number does not
    change the losses (but for dropout masks).
    """

    def __init__(self, config: ExperimentConfig, dataset: Dataset, device: torch.device) -> None:
        """Build a fresh model on `device`.

        Raises:
            ValueError: the network does not fit the images, or the batch the workers.
        """
        check_batch_fits_workers(config, distributed.world_size())
        if device.type == "cuda":
            gc.collect()  # an earlier trial's graphs hold their memory until then
        torch.backends.cudnn.allow_tf32 = config.training.precision != "fp32"
        super().__init__(config, dataset, device)
        self._gradients = Gradients(self.model)
        self.batches = TrainingBatches(config, dataset, device)
        self._working: nn.Module = self.model
        if config.training.precision == "bf16":
            self._working = working_copy(self.model, "bf16")
        self._network: Network = self._working
        self._unchecked_steps = 0
        self._start_fast()

    @property
    def averages(self) -> dict[float | None, nn.Module]:
        """The averages of the weights by their relative length; None is the exponential.

        Where training is compiled they are evaluated at its precision and speed.
        """
        models: dict[float | None, nn.Module] = {None: self.ema.model}
        models |= {length: average.model for length, average in self.power_averages.items()}
        return {length: self.to_sample(model) for length, model in models.items()}

    def to_sample(self, model: nn.Module) -> nn.Module:
        """Return what evaluates a model like those, at the training's precision and speed."""
        return model if self._denoiser is None else self._denoiser.of(model)

    def train_until(
        self,
        images: int,
        log: Callable[[dict[str, float]], None] = lambda row: None,
        save: Callable[[], object] = lambda: None,
        check: Callable[[], object] = lambda: None,
        save_snapshot: Callable[[], object] = lambda: None,
    ) -> None:
        """Train until `images_seen` is at least `images`.

        Args:
            images: the clock's target.
            log: receives the means over each `log_every_images`, on every worker.
            save: called every `checkpoint_every_images` before the target.
            check: called after every step before the target; may raise to end the training.
            save_snapshot: called `snapshots_per_doubling` times while `images_seen` doubles.
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
            if is_snapshot_time(before, self.images_seen, training.snapshots_per_doubling):
                self._check_finite()
                save_snapshot()
            if due and self.images_seen < images:
                self._check_finite()
                save()
            if self.images_seen < images:
                check()

    def _crossed(self, before: int, every: int) -> bool:
        return before // every != self.images_seen // every

    @staticmethod
    def _means(rows: list[dict[str, Tensor]]) -> dict[str, float]:
        """Return means over steps and workers; a value counts only where it was measured."""
        names = sorted({name for row in rows for name in row})
        sums = [
            torch.stack([row[name].float() for row in rows if name in row]).mean()
            for name in names
        ]
        total = distributed.all_reduce_sum(torch.stack(sums)) / distributed.world_size()
        return dict(zip(names, total.tolist(), strict=True))

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
        with out_of_memory_as(
            f"out of memory at batch_size {training.batch_size} over "
            f"{distributed.world_size()} worker(s); lower training.batch_size or "
            "model.base_channels, or give a trial more workers"
        ):
            if self._to_compile:
                self._compile()
            batch = self.batches.at(self.images_seen)
            self._set_clock()
            measured = self._train_on(batch)
        self.images_seen += training.batch_size
        self._unchecked_steps += 1
        if not self.on_gpu or self._unchecked_steps >= GPU_STEPS_BETWEEN_CHECKS:
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
        self.latch.set_position(self.images_seen)

    def _train_on(self, batch: list[Tensor]) -> Measured:
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

    def _contrastive_gradient(self, batch: Sequence[Tensor]) -> Measured:
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

    def _update(self, batch: Sequence[Tensor], with_ratio: bool) -> Measured:
        """Forward, backward, clip, Adam and averages: on a GPU one graph, which nothing waits for.

        Args:
            batch: of `TrainingBatches.at`.
            with_ratio: whether the gradients hold that of the contrastive term, to be compared.
        """
        self._refresh()
        losses = self._losses(batch)
        measured = self._measured(losses)
        total = losses.total
        gradient = self._gradient_of(total)
        pcl_gradient = self._gradients.flat.clone() if with_ratio else None
        self._gradients.take(gradient)
        if pcl_gradient is not None:
            others = self._gradients.flat - pcl_gradient  # of DDPM and CBDM, before clipping
            measured["pcl/grad_ratio"] = pcl_gradient.norm() / others.norm()
        norm = self._gradients.clip(self.config.training.gradient_clip_norm)
        measured["grad_norm"] = norm
        self.latch.note(losses.ddpm, total, norm)
        self.optimizer.step()
        for average in (self.ema, *self.power_averages.values()):
            average.follow(self.model, skip=self.latch.faulty)
        return measured

    def _losses(self, batch: Sequence[Tensor]) -> Losses:
        x_0, labels, draws = self.batches.unpacked(batch)
        return self.objective(self._predict, x_0, labels, draws, self.images_seen)

    def _predict(self, *inputs: Tensor) -> Tensor:
        return self._network(*inputs)

    def _measured(self, losses: Losses) -> Measured:
        """Return the losses of a step by the names of their curves."""
        measured = {"loss/ddpm": losses.ddpm.detach()}
        if losses.cbdm is not None:
            measured["loss/cbdm"] = losses.cbdm.detach()
        if losses.contrastive is not None:
            terms = losses.contrastive
            measured |= {"loss/pcl": terms.loss.detach(), "pcl/num_pairs": terms.num_pairs}
            if self.config.contrastive.form == "hinge":
                measured["pcl/active_share"] = terms.active_share
        return measured

    def _gradient_of(self, loss: Tensor) -> Sequence[Tensor]:
        """Return the gradient of a loss in the weights that the network computes with."""
        return torch.autograd.grad(loss, list(self._working.parameters()), materialize_grads=True)

    def _refresh(self) -> None:
        if self._working is not self.model:
            copy_weights(self._working, self.model)

    def _check_finite(self) -> None:
        """Raise NonFiniteError if a step up to now was faulty, with the clock at that step."""
        self._unchecked_steps = 0
        fault = self.latch.fault()
        if fault is not None:
            self.images_seen = fault.images_seen
            raise fault.error(self.config.training.batch_size)

    def _start_fast(self) -> None:
        """Prepare compilation and CUDA graphs, where the configuration and the device have them.

        Worker groups compile but do not record: their steps hold collectives.
        """
        wanted = self.config.training.compile
        self._to_compile = self._compiles = self.on_gpu if wanted is None else wanted
        records = self._compiles and self.on_gpu
        alone = distributed.world_size() == 1
        self._steps = CapturedSteps(
            CudaCapture(self.device) if records and alone else None, self._state
        )
        self.optimizer.register_load_state_dict_post_hook(lambda _: self._start_anew())
        self._denoiser: FastDenoiser | None = None
        if self._compiles:
            torch.compiler.reset()  # or an earlier trial's networks would count to its limit
            self._denoiser = FastDenoiser(
                self.ema.model,
                self.config.training.precision,
                self.config.sampling.batch_size,
                CudaCapture(self.device) if records else None,
            )

    @property
    def num_warm_up_steps(self) -> int:
        """Number of steps before every step takes the same time; 0 where nothing is compiled."""
        return NUM_WARM_UP_STEPS + 1 if self._compiles else 0

    def _start_anew(self) -> None:
        """Record anew after a load, which replaced the optimiser's tensors, without the fault."""
        self._steps.reset()
        self.latch.clear()

    def _state(self) -> dict[str, list[Tensor]]:
        """Return all that a step changes and a later one depends on, for `CapturedSteps`."""
        averages = (self.ema, *self.power_averages.values())
        moments = self.optimizer.state.values()
        names = sorted({name for moment in moments for name in moment})
        return {
            "weights": [weight.data for weight in self.model.parameters()],
            "averages": [w for average in averages for w in average.model.parameters()],
            **{f"optimiser {name}": [moment[name] for moment in moments] for name in names},
            "objective": list(self.objective.state_dict().values()),
            "gradient": [self._gradients.flat],
            "faults": self.latch.tensors,
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
