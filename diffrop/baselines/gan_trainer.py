"""Training of the GAN baselines: SNGAN, SNGAN with gSR, and CBGAN."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from diffrop.activity import Tell, counted, untold
from diffrop.baselines import gan_losses
from diffrop.baselines.classifier import predicted_labels
from diffrop.baselines.gan_config import GanConfig
from diffrop.baselines.gan_networks import Discriminator, Generator, num_doublings
from diffrop.baselines.resnet import ResNet32
from diffrop.checkpoint_file import Checkpoint
from diffrop.config import DataConfig
from diffrop.data import Dataset
from diffrop.data.batches import ImageOrder
from diffrop.diffusion.sampling import from_uint8, to_uint8
from diffrop.errors import CheckpointError, NonFiniteError
from diffrop.metrics.report import balanced_labels
from diffrop.provenance import card_changes, environment, git_commit, package_versions
from diffrop.seeds import INITIAL, SAMPLES, STEP, derive_seed, generator

SAMPLING_BATCH = 500
KEYS_THAT_MAY_CHANGE = ("num_images",)
"""Keys that may differ between a checkpoint and the training that continues from it."""


class GanTrainer:
    """A GAN in training; `images_seen` is its clock.

    Every random choice is derived from the seed and `images_seen`, so that a checkpoint's tensors
    and that count are all that a bitwise resume on CPUs needs.
    """

    def __init__(
        self,
        config: GanConfig,
        data: DataConfig,
        dataset: Dataset,
        device: torch.device,
        classifier: ResNet32 | None = None,
    ) -> None:
        """Build fresh networks on `device`.

        Args:
            config: the GAN.
            data: says whether images are mirrored; goes into the checkpoint.
            dataset: what is trained on.
            device: of everything.
            classifier: frozen, on `device`, trained on the same long-tailed images; cbgan only.

        Raises:
            ValueError: the images do not fit the networks.
        """
        num_doublings(dataset.image_shape)
        assert (classifier is not None) == (config.model == "cbgan")
        self.config, self.data, self.dataset, self.device = config, data, dataset, device
        self.classifier = classifier
        self.images_seen = 0
        torch.manual_seed(derive_seed(config.seed, INITIAL))
        shape, classes = dataset.image_shape, _num_conditions(config, dataset.num_classes)
        self.generator = Generator(config.base_channels, config.z_dim, classes, shape).to(device)
        self.discriminator = Discriminator(config.base_channels, classes, shape).to(device)
        self.balance = gan_losses.ClassBalance(
            dataset.num_classes, config.batch_size, config.forgetting
        ).to(device)
        self.optimizers = {
            name: torch.optim.Adam(
                network.parameters(), lr=config.learning_rate, betas=(0.5, config.adam_beta_2)
            )
            for name, network in (("g", self.generator), ("d", self.discriminator))
        }
        self._images = dataset.train.images.to(device)
        self._labels = dataset.train.labels.to(device)
        self._counts = torch.tensor(dataset.train.class_counts, device=device)
        self._order = ImageOrder(dataset.train.labels, "natural", config.seed)

    def step(self) -> dict[str, Tensor]:
        """Train discriminator and generator on one round of batches; return losses as scalars.

        Raises:
            NonFiniteError: a loss was NaN or infinite; the weights of its network are as before.
        """
        self.generator.train()
        before = self.images_seen
        for _ in range(self.config.discriminator_steps):
            real, labels, rng = self._batch()
            d_loss = self._discriminator_loss(real, labels, rng)
            self._update("d", d_loss)
            self.images_seen += self.config.batch_size
        self.discriminator.requires_grad_(False)
        adversarial, regulariser = self._generator_losses(real, rng)
        self._update("g", adversarial + regulariser)
        self.discriminator.requires_grad_(True)
        cycle = self.config.cycle_images
        if self.classifier is not None and before // cycle != self.images_seen // cycle:
            self.balance.end_cycle()
        return {
            "loss/discriminator": d_loss.detach(),
            "loss/generator": adversarial.detach(),
            "loss/regulariser": regulariser.detach(),
        }

    def train_until(
        self,
        images: int,
        log_every: int,
        log: Callable[[dict[str, float]], object],
        tell: Tell = untold,
    ) -> None:
        """Train until `images_seen` is at least `images`, and tell at every step how far that is.

        Means over `log_every` images are logged.
        """
        rows: list[dict[str, Tensor]] = []
        while self.images_seen < images:
            tell("training the GAN", self.images_seen / images)
            before = self.images_seen
            rows.append(self.step())
            if before // log_every != self.images_seen // log_every or self.images_seen >= images:
                means = {k: torch.stack([row[k] for row in rows]).mean().item() for k in rows[0]}
                log({"images_seen": self.images_seen, **means})
                rows = []

    def _batch(self) -> tuple[Tensor, Tensor, torch.Generator]:
        """Real images in [-1, 1], their labels, and the generator of this position's noise."""
        size = self.config.batch_size
        rng = generator(self.device, self.config.seed, STEP, self.images_seen)
        picked = self._order.indices(self.images_seen, size).to(self.device)
        x, labels = from_uint8(self._images[picked]), self._labels[picked]
        if self.data.horizontal_flip:
            mirrored = torch.rand(size, generator=rng, device=self.device) < 0.5
            x = torch.where(mirrored[:, None, None, None], x.flip(-1), x)
        return x, labels, rng

    def _fake(self, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Generated images and their labels, uniform over the classes."""
        size = self.config.batch_size
        z = torch.randn(size, self.config.z_dim, generator=rng, device=self.device)
        classes = self.generator.num_classes
        labels = torch.randint(classes, (size,), generator=rng, device=self.device)
        return self.generator(z, labels), labels

    def _logits(
        self, real: Tensor, labels: Tensor, fake: Tensor, fake_labels: Tensor
    ) -> tuple[Tensor, Tensor]:
        both = self.discriminator(torch.cat([real, fake]), torch.cat([labels, fake_labels]))
        real_logits, fake_logits = both.chunk(2)
        return real_logits, fake_logits

    def _discriminator_loss(self, real: Tensor, labels: Tensor, rng: torch.Generator) -> Tensor:
        with torch.no_grad():
            fake, fake_labels = self._fake(rng)
        real_logits, fake_logits = self._logits(real, labels, fake, fake_labels)
        if self.config.model == "cbgan":
            return gan_losses.relativistic_loss(real_logits, fake_logits)
        return gan_losses.hinge_discriminator_loss(real_logits, fake_logits)

    def _generator_losses(self, real: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """The adversarial loss, and the regulariser with its weight."""
        fake, labels = self._fake(rng)
        match self.config.model:
            case "cbgan":
                assert self.classifier is not None
                real_logits, fake_logits = self._logits(real, labels, fake, labels)
                adversarial = gan_losses.relativistic_loss(fake_logits, real_logits)
                regulariser = self.balance(self.classifier(fake))
                return adversarial, self.config.balance_weight * regulariser
            case "gsr":
                regulariser = gan_losses.group_spectral_regulariser(self.generator, self._counts)
                regulariser = self.config.spectral_weight * regulariser
            case "sngan":
                regulariser = fake.new_zeros(())
        return gan_losses.hinge_generator_loss(self.discriminator(fake, labels)), regulariser

    def _update(self, name: str, loss: Tensor) -> None:
        if not torch.isfinite(loss):
            raise NonFiniteError(
                f"non-finite loss of network {name} at images_seen {self.images_seen}"
            )
        self.optimizers[name].zero_grad(set_to_none=True)
        loss.backward()
        self.optimizers[name].step()

    def checkpoint(self) -> Checkpoint:
        """Return the whole state and its card."""
        parts: dict[str, nn.Module] = {
            "generator": self.generator,
            "discriminator": self.discriminator,
            "balance": self.balance,
        }
        if self.classifier is not None:
            parts["classifier"] = self.classifier
        tensors = {
            f"{n}.{k}": v for n, part in parts.items() for k, v in part.state_dict().items()
        }
        for name, optimizer in self.optimizers.items():
            for index, state in optimizer.state_dict()["state"].items():
                tensors |= {f"optimizer_{name}.{index}.{k}": v for k, v in state.items()}
        train = self.dataset.train
        card = {
            "gan": self.config.to_dict(),
            "data": self.data.to_dict(),
            "images_seen": self.images_seen,
            "dataset": self.dataset.name,
            "data_digest": self.dataset.train_digest,
            "image_shape": list(self.dataset.image_shape),
            "class_names": list(train.class_names),
            "class_counts": train.class_counts,
            "git_commit": git_commit(),
            "versions": package_versions(),
            "environment": environment(),
            "changes": card_changes(),
        }
        return Checkpoint({k: v.detach().clone() for k, v in tensors.items()}, card)

    def load(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint of the same training.

        Raises:
            CheckpointError: its configuration or images are others.
        """
        card, ours = checkpoint.card, self.config.to_dict()
        theirs = card.get("gan", {})
        differing = [k for k in ours if k not in KEYS_THAT_MAY_CHANGE and theirs.get(k) != ours[k]]
        if differing or card["data_digest"] != self.dataset.train_digest:
            what = ", ".join(differing) or "images"
            raise CheckpointError(f"the checkpoint is of another training: it differs in {what}")
        self.images_seen = card["images_seen"]
        self.generator.load_state_dict(checkpoint.part("generator"))
        self.discriminator.load_state_dict(checkpoint.part("discriminator"))
        self.balance.load_state_dict(checkpoint.part("balance"))
        if self.classifier is not None:
            self.classifier.load_state_dict(checkpoint.part("classifier"))
        for name, optimizer in self.optimizers.items():
            state: dict[int, dict[str, Tensor]] = {}
            for key, tensor in checkpoint.part(f"optimizer_{name}").items():
                index, item = key.split(".")
                state.setdefault(int(index), {})[item] = tensor
            groups = optimizer.state_dict()["param_groups"]
            optimizer.load_state_dict({"state": state, "param_groups": groups})


@torch.no_grad()
def gan_samples(
    checkpoint: Checkpoint,
    num_images: int,
    seed: int,
    device: torch.device,
    tell: Tell = untold,
) -> tuple[Tensor, Tensor]:
    """Draw from a GAN's checkpoint, and tell how far that is.

    Returns:
        Images uint8 (N, C, H, W) and labels int64 (N,), on the CPU: balanced labels that were
        asked for, or for the unconditional CBGAN those that its frozen classifier gives.
    """
    card = checkpoint.card
    config = GanConfig.from_dict(card["gan"])
    channels, height, width = card["image_shape"]
    num_classes = len(card["class_names"])
    conditions = _num_conditions(config, num_classes)
    network = Generator(config.base_channels, config.z_dim, conditions, (channels, height, width))
    network.load_state_dict(checkpoint.part("generator"))
    network.to(device).eval()
    labels, images = balanced_labels(num_images, conditions), []
    parts = labels.split(SAMPLING_BATCH)
    look = counted(tell, f"drawing {num_images:,} images", len(parts))
    for chunk, part in enumerate(parts):
        look()
        rng = generator(device, seed, SAMPLES, chunk)
        z = torch.randn(len(part), config.z_dim, generator=rng, device=device)
        images.append(to_uint8(network(z, part.to(device))).cpu())
    drawn = torch.cat(images)
    if config.model == "cbgan":
        classifier = ResNet32(channels, num_classes)
        classifier.load_state_dict(checkpoint.part("classifier"))
        labels = predicted_labels(classifier.to(device).eval(), drawn, tell)
    return drawn, labels


def _num_conditions(config: GanConfig, num_classes: int) -> int:
    """Return the number of classes that condition the networks: 1, that is none, for CBGAN."""
    return 1 if config.model == "cbgan" else num_classes
