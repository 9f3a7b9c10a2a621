"""What a training consists of between two steps, and its way into a checkpoint and out of one."""

from typing import Any

import torch
from torch import Tensor

from diffrop import distributed
from diffrop.checkpoint_file import Checkpoint
from diffrop.config import ExperimentConfig
from diffrop.data import Dataset
from diffrop.diffusion.objective import Objective
from diffrop.diffusion.schedule import NoiseSchedule
from diffrop.errors import CheckpointError
from diffrop.provenance import card_changes, environment, git_commit, package_versions
from diffrop.seeds import INITIAL, derive_seed
from diffrop.training.checkpoint import average_part, config_of
from diffrop.training.ema import PowerAverage, WeightAverage
from diffrop.training.fault_latch import FaultLatch
from diffrop.training.fork import check_fork, objective_goes_on
from diffrop.training.identity import differing_settings
from diffrop.training.network import build_network


class TrainingState:
    """Network, averages, optimiser, running margins, and the clock `images_seen`.

    Every random choice of a training is derived from the seed and `images_seen`, so that these
    tensors and that count are all that a bitwise resume needs.
    """

    def __init__(self, config: ExperimentConfig, dataset: Dataset, device: torch.device) -> None:
        """Build a fresh network and what follows it, on `device`.

        Raises:
            ValueError: the network does not fit the images.
        """
        self.config, self.dataset, self.device = config, dataset, device
        self.images_seen = 0
        self.images_before = 0
        """Images seen by the training that `init_from` names; the average's ramp counts them."""
        training = config.training
        torch.manual_seed(derive_seed(training.seed, INITIAL))
        self.model = build_network(config, dataset.num_classes, dataset.image_shape).to(device)
        layout = torch.channels_last if self.on_gpu else torch.contiguous_format
        self.model.to(memory_format=layout)
        self.ema = WeightAverage(self.model, training.ema_half_life_images, training.ema_ramp)
        self.power_averages = {
            length: PowerAverage(self.model, length) for length in training.ema_lengths
        }
        self.latch = FaultLatch(device)
        self.optimizer = self._make_optimizer()
        self.schedule = NoiseSchedule.linear(config.diffusion).to(device)
        class_counts = torch.tensor(dataset.train.class_counts, device=device)
        self.objective = Objective(
            config.diffusion, config.contrastive, self.schedule, class_counts, config.objective
        )
        self.objective.to(device)

    @property
    def on_gpu(self) -> bool:
        """Whether layout, optimiser, compilation and recording are those of a GPU."""
        return self.device.type == "cuda"

    def _make_optimizer(self) -> torch.optim.Adam:
        """Return Adam that changes nothing after a fault; on a GPU its rate is in its memory."""
        rate: float | Tensor = self.config.training.learning_rate
        if self.on_gpu:
            rate = torch.tensor(rate, device=self.device)
        optimizer = torch.optim.Adam(
            self.model.parameters(), lr=rate, fused=True, capturable=self.on_gpu
        )
        # Steps that warm up, and those of worker groups, are not recorded: torch would warn.
        optimizer._warned_capturable_if_run_uncaptured = True
        optimizer.found_inf = self.latch.faulty  # type: ignore[attr-defined]
        return optimizer

    def checkpoint(self) -> Checkpoint:
        """Return the whole state: model, averages, optimiser, running margins, and the card."""
        tensors = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        tensors |= {f"ema.{k}": v for k, v in self.ema.model.state_dict().items()}
        tensors |= self._power_averages()
        tensors |= {f"objective.{k}": v for k, v in self.objective.state_dict().items()}
        for index, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{k}": torch.as_tensor(v) for k, v in state.items()}
        return Checkpoint({k: v.detach().clone() for k, v in tensors.items()}, self._card())

    def snapshot(self) -> Checkpoint:
        """Return the power averages alone, and the card."""
        tensors = {
            name: tensor.detach().clone() for name, tensor in self._power_averages().items()
        }
        return Checkpoint(tensors, self._card())

    def _power_averages(self) -> dict[str, Tensor]:
        return {
            f"{average_part(length)}.{name}": tensor
            for length, average in self.power_averages.items()
            for name, tensor in average.model.state_dict().items()
        }

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

    def start_from(self, checkpoint: Checkpoint) -> None:
        """Take the weights and their average from another training; all else starts afresh.

        The average's ramp continues from that training's length, or the average would be lost at
        once.
        """
        self.model.load_state_dict(checkpoint.part("model"))
        self.ema.model.load_state_dict(checkpoint.part("ema"))
        card = checkpoint.card
        self.images_before = card["images_seen"] + card.get("images_before", 0)

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
            "environment": environment(),
            "changes": card_changes(),
        }

    def _check_same_training(self, card: dict[str, Any]) -> None:
        """Refuse a checkpoint that this training could not have produced."""
        if card["data_digest"] != self.dataset.train_digest:
            raise CheckpointError("the checkpoint was trained on other images than this run's")
        # Keys that a checkpoint is too old to know had their default.
        differing = differing_settings(config_of(card), self.config)
        if differing:
            raise CheckpointError(
                f"the checkpoint has another configuration: {'; '.join(differing)}"
            )
