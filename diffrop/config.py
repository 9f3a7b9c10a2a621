"""Every configuration of an experiment: frozen dataclasses and their checks.

One `ExperimentConfig` is built at the edge (a study's command line, or a YAML file) and handed
down whole or by its part. It says what is trained, how it is sampled and how it is scored; what a
study searches is a set of dotted keys of it (`contrastive.tau_0`).
"""

import contextlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from diffrop.constraints import Constraint, parse_constraints
from diffrop.power_average import (
    MAX_ERROR,
    MAX_LENGTH,
    allowed_lengths,
    planned_error,
    snapshot_times,
)
from diffrop.schema import Config, FieldError, require, set_key

Form = Literal["none", "negative_l2", "hinge", "reciprocal", "exponential"]
TauSchedule = Literal["exponential", "constant", "linear", "cosine"]
DistanceSpace = Literal["mu", "x0", "eps"]
MarginRule = Literal["oracle", "constant", "quantile"]
Precision = Literal["fp32", "tf32", "bf16"]
ExtractorPrecision = Precision
Metric = Literal[
    "fid", "kid", "inception_score", "precision_recall", "prd", "fid_infinity", "memorisation"
]
Objective = Literal["fid/all", "fid/many", "fid/medium", "fid/few"]
OmegaSearch = Literal["halving", "grid"]
SamplerKind = Literal["ddim", "dpmpp", "heun", "ancestral"]
ClassSampling = Literal["natural", "sqrt", "uniform"]
DiffAugPart = Literal["color", "translation", "cutout"]
ObjectiveLoss = Literal["ddpm", "cbdm"]

# DDPM + negative L2 in eps or x0 space is a quadratic form that loses its lower bound at
# tau = (g - 1) / (2 g) for a group of g images of g classes, and earlier where labels repeat: at
# about 0.31 in expectation over batches of CIFAR10LT (imbalance 0.01, g = 8, label dropout 0.1).
# With two classes at 0.01 even 0.02 is too much, which no check here knows.
NEGATIVE_L2_MAX_TAU_0 = 0.2

MAX_IMAGE_PIXELS = 64_000_000
"""Width times height that an image in a folder may have, unless more is asked for."""
PILLOWS_MAX_IMAGE_PIXELS = 178_956_970
"""Pillow opens no image that has more."""

# Far above what anybody trains: a slip of the keyboard is refused in place of filling the memory.
MAX_CHANNELS, MAX_BLOCKS, MAX_TIMESTEPS = 16_384, 64, 100_000
MAX_SAMPLES = MAX_BATCH = 1_000_000
MAX_SNAPSHOTS = 16

GuidanceInterval = tuple[float, float]
"""Guidance is active at the timesteps t with low <= t / T < high."""
WHOLE_RANGE: GuidanceInterval = (0.0, 1.0)


def _require_interval(name: str, interval: Sequence[float]) -> None:
    fits = len(interval) == 2 and 0 <= interval[0] < interval[1] <= 1
    require(fits, name, interval, "two shares of T, 0 <= low < high <= 1")


def _require_guide(name: str, share: float | None) -> None:
    fits = share is None or 0 < share < 1
    require(fits, name, share, "a share of the training, 0 < share < 1, or null")


@dataclass(frozen=True, kw_only=True, slots=True)
class DataConfig(Config):
    """Which images, and how long-tailed."""

    dataset: str = "digits"
    """A name of `diffrop.data.DATASETS`."""
    root: str | None = None
    """Folder that holds the images (image_folder), or where torchvision's sets lie."""
    imbalance_factor: float | None = 0.1
    """Rarest over most frequent class; None keeps the data's own counts."""
    image_size: int | None = None
    """Height and width in pixels for image_folder; None takes 32. Other sets have their own."""
    reference: Literal["train", "heldout"] = "train"
    """What samples are compared with: the full training set, before it was made long-tailed, or
    the data set's own test split."""
    reference_root: str | None = None
    """Folder with a folder of reference images for each class; takes the place of `reference`."""
    skip_damaged: bool = False
    """Leave out images of a folder that cannot be read, and say how many, in place of refusing."""
    max_image_pixels: int = MAX_IMAGE_PIXELS
    """Width times height of an image in a folder; a larger one is refused before it is decoded."""
    horizontal_flip: bool = False
    """Mirror each training image with probability 1/2."""
    class_sampling: ClassSampling = "natural"
    """Mass of class c among the training batches: n_c (every image once a pass), sqrt(n_c)
    (RS-SQRT) or 1 (RS); the latter two draw with replacement."""

    def check(self) -> None:
        """Refuse impossible imbalance factors and sizes; a `~` in front of a path is home."""
        for name in ("root", "reference_root"):
            path = getattr(self, name)
            if path is not None and path.startswith("~"):
                object.__setattr__(self, name, _from_home(path, name))
        factor = self.imbalance_factor
        require(factor is None or 0 < factor <= 1, "imbalance_factor", factor, "0 < factor <= 1")
        size = self.image_size
        require(size is None or 4 <= size <= 1024, "image_size", size, "4 to 1024 pixels")
        most, allowed = self.max_image_pixels, f"1 to {PILLOWS_MAX_IMAGE_PIXELS:,}"
        require(0 < most <= PILLOWS_MAX_IMAGE_PIXELS, "max_image_pixels", most, allowed)


def _from_home(path: str, name: str) -> str:
    with contextlib.suppress(RuntimeError):
        return str(Path(path).expanduser())
    raise FieldError(name, f"is {path!r}; allowed: ~ of a user who is known here")


@dataclass(frozen=True, kw_only=True, slots=True)
class AugmentationConfig(Config):
    """How training images are changed; see `diffrop.data.augmentation`."""

    diffaug: tuple[DiffAugPart, ...] = ()
    """Parts of DiffAug (Zhao et al., 2020) that every training image goes through."""
    conditional_probability: float = 0.0
    """Probability of each geometric change of Karras et al. (2022), appendix F.2, whose
    parameters become an input of the network; 0 leaves the network without that input."""

    def check(self) -> None:
        """Refuse doubled parts and what is no probability."""
        parts, rate = self.diffaug, self.conditional_probability
        require(len(set(parts)) == len(parts), "diffaug", parts, "each part once")
        require(0 <= rate <= 1, "conditional_probability", rate, "0 to 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelConfig(Config):
    """The UNet; the defaults are the paper's network for 32x32 images."""

    base_channels: int = 128
    """Channels of the first level; a multiple of 8."""
    channel_multipliers: tuple[int, ...] = (1, 2, 2, 2)
    """Channels of each level, as multiples of the first; each level halves height and width."""
    num_res_blocks: int = 2
    """Residual blocks of a level."""
    attention_resolutions: tuple[int, ...] = (16,)
    """Heights in pixels of the feature maps that get self-attention."""
    dropout: float = 0.1
    """Probability of dropping an activation within a residual block."""

    def check(self) -> None:
        """Refuse empty networks."""
        channels = self.base_channels
        positive = 0 < channels <= MAX_CHANNELS and channels % 8 == 0
        allowed = f"a positive multiple of 8, at most {MAX_CHANNELS:,}"
        require(positive, "base_channels", channels, allowed)
        levels = self.channel_multipliers
        fits = bool(levels) and min(levels) > 0 and max(levels) * channels <= MAX_CHANNELS
        allowed = f"positive numbers, up to {MAX_CHANNELS:,} channels"
        require(fits and len(levels) <= 10, "channel_multipliers", levels, f"1 to 10 {allowed}")
        blocks = self.num_res_blocks
        require(0 < blocks <= MAX_BLOCKS, "num_res_blocks", blocks, f"1 to {MAX_BLOCKS}")
        require(0 <= self.dropout < 1, "dropout", self.dropout, "0 <= dropout < 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class DiffusionConfig(Config):
    """The forward process and what is drawn for each training batch (shared by all losses)."""

    num_timesteps: int = 1000
    """T, the steps of the forward process."""
    beta_start: float = 1e-4
    """Variance added in the first step; it rises linearly."""
    beta_end: float = 0.02
    """Variance added in the last."""
    timesteps: Literal["grouped", "batch", "per_sample"] = "grouped"
    """Which images share a t: groups of `group_size`, the whole batch, or none."""
    group_size: int = 8
    """Images that share a timestep where `timesteps` is grouped."""
    noise: Literal["own", "shared"] = "own"
    """Own noise per image (Algorithm 1), or one noise for all images that form pairs (Eq. 12)."""
    label_dropout: float = 0.1
    """Probability that a label becomes the null label (classifier-free guidance)."""
    label_dropout_unit: Literal["sample", "batch"] = "sample"
    """Whether each label is dropped for itself, or those of a whole batch together (CBDM)."""

    def check(self) -> None:
        """Refuse schedules that are no schedules."""
        steps = self.num_timesteps
        require(2 <= steps <= MAX_TIMESTEPS, "num_timesteps", steps, f"2 to {MAX_TIMESTEPS:,}")
        start, end = self.beta_start, self.beta_end
        require(0 < end < 1, "beta_end", end, "0 < beta_end < 1")
        require(0 < start <= end, "beta_start", start, f"0 < beta_start <= beta_end = {end:g}")
        require(self.group_size >= 2, "group_size", self.group_size, "at least 2")
        rate = self.label_dropout
        require(0 <= rate < 1, "label_dropout", rate, "0 <= rate < 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectiveConfig(Config):
    """What the contrastive loss is added to; see `diffrop.diffusion.objective`."""

    loss: ObjectiveLoss = "ddpm"
    """The noise regression alone (Eq. 5), or with the regulariser of CBDM."""
    class_weights: Literal["none", "inverse"] = "none"
    """`inverse` weighs the noise regression by 1 / n_c, with mean 1 over the training images
    (Table 4)."""
    cbdm_tau: float = 1.0
    """Strength of CBDM's regulariser."""
    cbdm_commitment: float = 0.25
    """Weight of its second term, which moves the branch of the other label."""
    cbdm_labels: Literal["long_tailed", "uniform"] = "long_tailed"
    """Distribution of its other labels: that of the training images, or uniform (CBDM's choice
    for fine-tuning)."""

    def check(self) -> None:
        """Refuse negative weights."""
        for name in ("cbdm_tau", "cbdm_commitment"):
            require(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")


@dataclass(frozen=True, kw_only=True, slots=True)
class ContrastiveConfig(Config):
    """The contrastive loss (PCL) of Section 4; see `diffrop.diffusion.contrastive`."""

    form: Form = "reciprocal"
    """phi(d) of a pair: none, -d, max(0, margin - d), 1 / (1 + d) or exp(-d)."""
    tau_0: float = 1.0
    """Strength of the loss at t = 0."""
    tau_schedule: TauSchedule = "exponential"
    """How tau(t) falls from tau_0."""
    decay_temperature: float = 0.3
    """kappa in tau(t) = tau_0 exp(-t / (kappa T)); used by the exponential schedule only."""
    space: DistanceSpace = "mu"
    """What the distance compares: mu_theta (paper), sqrt(alpha_bar_t) x0_theta, or eps_theta."""
    distance_reduction: Literal["mean", "sum"] = "mean"
    """Reduction over the C*H*W values of an image; the literal sum underflows the exponential
    form."""
    variance_scale: bool = False
    """Multiply distances by 1 / (2 sigma_t^2), as in Eq. 8; Eq. 11 and 14 drop it."""
    pair_reduction: Literal["mean", "sum"] = "mean"
    """Reduction over the valid ordered pairs of the global batch."""
    margin_rule: MarginRule = "oracle"
    """Where the hinge's margin comes from; see `margin`."""
    margin: float = 1.0
    """Hinge only: multiple of the true distance (oracle), the distance itself (constant), or the
    quantile in (0, 1) of an image's distances, as a running mean at each t (quantile)."""
    stop_gradient: Literal["none", "frequent"] = "none"
    """`frequent` lets a pair move only its rarer class."""
    start_images: int = 0
    """Train with the plain DDPM loss until this many images were seen."""

    def check(self) -> None:
        """Refuse negative weights, impossible margins and losses without a lower bound."""
        require(self.tau_0 >= 0, "tau_0", self.tau_0, "0 or more")
        kappa = self.decay_temperature
        require(kappa > 0, "decay_temperature", kappa, "more than 0")
        require(self.margin > 0, "margin", self.margin, "more than 0")
        if self.margin_rule == "quantile" and self.form == "hinge":
            require(self.margin < 1, "margin", self.margin, "0 < quantile < 1")
        require(self.start_images >= 0, "start_images", self.start_images, "0 or more")
        if self.form == "negative_l2" and self.space != "mu":
            bounded = self.tau_0 <= NEGATIVE_L2_MAX_TAU_0 and self.distance_reduction == "mean"
            require(
                bounded and not self.variance_scale,
                f"tau_0 of negative_l2 in {self.space} space",
                self.tau_0,
                f"at most {NEGATIVE_L2_MAX_TAU_0} with distance_reduction mean and no "
                "variance_scale, because the loss is unbounded below otherwise",
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingConfig(Config):
    """The optimisation; all lengths are in images, so that they hold at any batch size."""

    num_images: int = 19_200_000
    """Images seen by the end of training; 300,000 steps of 64 in the paper."""
    batch_size: int = 64
    """Global batch size, over all workers."""
    learning_rate: float = 2e-4
    """Adam's, after the warm-up."""
    warmup_images: int = 320_000
    """Images over which the learning rate rises from 0."""
    gradient_clip_norm: float = 1.0
    """Norm to which larger gradients are scaled down."""
    ema_half_life_images: int = 443_000
    """Half-life of the weight average; 0.9999 a step of 64 images is 443,000 images."""
    ema_ramp: float = 0.05
    """Caps the half-life at this share of the images seen so far (0.05 as in EDM)."""
    ema_lengths: tuple[float, ...] = ()
    """Relative lengths of further, power-function averages (Karras et al., 2024): every
    checkpoint keeps them for `sampling.ema_length` to choose from, each a copy of the weights."""
    snapshots_per_doubling: int = 0
    """How often, while the images seen double, the averages of `ema_lengths` are kept by
    themselves: other lengths are reconstructed from them. Those of the last three doublings
    before a checkpoint stay with it."""
    precision: Precision = "fp32"
    """fp32 is strict; tf32 lets CUDA's convolutions use TF32 (PyTorch's default), matrix products
    stay float32; bf16 computes with a bfloat16 copy of the weights, on any device."""
    compile: bool | None = None
    """Compile the network, and on a GPU replay each whole step as one CUDA graph; null does so on
    GPUs only. What fails or computes other numbers falls back to eager with one warning."""
    seed: int = 0
    """Of the initial weights, the order of images, timesteps, noise and dropped labels."""
    log_every_images: int = 50_000
    """Images between two rows of the curves."""
    grad_ratio_every_steps: int = 200
    """Steps between two measurements of pcl/grad_ratio."""
    checkpoint_every_images: int = 1_000_000
    """Images between two checkpoints; rungs have their own."""
    keep_checkpoints: int = 2
    """How many checkpoints between rungs are kept, the newest."""
    init_from: str | None = None
    """Checkpoint whose weights and weight average a fresh training starts from (fine-tuning);
    its optimiser and clock are left behind."""

    def check(self) -> None:
        """Refuse lengths and rates that make no training."""
        positive = (
            "num_images",
            "batch_size",
            "learning_rate",
            "gradient_clip_norm",
            "ema_half_life_images",
            "ema_ramp",
            "log_every_images",
            "grad_ratio_every_steps",
            "checkpoint_every_images",
            "keep_checkpoints",
        )
        for name in positive:
            require(getattr(self, name) > 0, name, getattr(self, name), "more than 0")
        require(self.batch_size <= MAX_BATCH, "batch_size", self.batch_size, f"to {MAX_BATCH:,}")
        lengths = self.ema_lengths
        fit = len(set(lengths)) == len(lengths) and all(0 < x <= MAX_LENGTH for x in lengths)
        require(fit, "ema_lengths", lengths, f"distinct numbers, over 0 to {MAX_LENGTH}")
        often = self.snapshots_per_doubling
        allowed = f"0 to {MAX_SNAPSHOTS}, 0 without ema_lengths"
        fits = 0 <= often <= (MAX_SNAPSHOTS if lengths else 0)
        require(fits, "snapshots_per_doubling", often, allowed)
        require(self.warmup_images >= 0, "warmup_images", self.warmup_images, "0 or more")
        require(0 <= self.seed < 2**31, "seed", self.seed, "0 to 2^31 - 1")

    def check_average(
        self, length: float | None, field: str, images_seen: int | None = None, since: int = 0
    ) -> None:
        """Refuse an average of the weights that is neither kept nor reconstructed well enough.

        Args:
            length: None is the exponential average, which is always there.
            field: where it is named, for the message.
            images_seen: when; None for the end of the training.
            since: images seen after which the training keeps snapshots.

        Raises:
            ValueError: there is no such average.
        """
        if self.average_error(length, images_seen, since) <= MAX_ERROR:
            return
        end, each = images_seen or self.num_images, self.snapshots_per_doubling
        times = snapshot_times(end, self.batch_size, each, since)
        at = "" if images_seen is None else f" at {images_seen:,} images"
        require(False, field, length, allowed_lengths(self.ema_lengths, times, end, at))

    def average_error(
        self, length: float | None, images_seen: int | None = None, since: int = 0
    ) -> float:
        """Return the relative error with which an average is to be had; see `check_average`.

        0 for those that are kept.
        """
        if length is None or length in self.ema_lengths:
            return 0.0
        if not 0 < length <= MAX_LENGTH:
            return math.inf
        end, each = images_seen or self.num_images, self.snapshots_per_doubling
        return planned_error(length, self.ema_lengths, end, self.batch_size, each, since)


@dataclass(frozen=True, kw_only=True, slots=True)
class SamplingConfig(Config):
    """How images are drawn from a checkpoint; never a reason to train again."""

    sampler: SamplerKind = "ddim"
    """Method of the reverse process; see docs/metrics.md."""
    num_steps: int = 50
    """Denoising steps; the ancestral sampler takes all of `num_timesteps`."""
    clip: bool = True
    """Clip predicted clean images to [-1, 1] at every step (Ho et al., 2020), or take them as they
    are, as the public code of CBDM does."""
    guidance_interval: GuidanceInterval = WHOLE_RANGE
    """Shares of T between which omega applies (Kynkaanniemi et al., 2024): at t with low <= t / T
    < high; elsewhere only the conditional branch is evaluated."""
    guide: float | None = None
    """Guide with an earlier checkpoint of the same training in place of the null label
    (autoguidance; Karras et al., 2024): that at this share of the images that the sampled one has
    seen, in whole batches."""
    batch_size: int = 500
    """Images that are drawn at a time."""
    ema_length: float | None = None
    """Which of `training.ema_lengths`, or length that its snapshots give, to sample from; None is
    the exponential average."""

    def check(self) -> None:
        """Refuse empty sampling."""
        require(self.num_steps > 0, "num_steps", self.num_steps, "at least 1")
        _require_interval("guidance_interval", self.guidance_interval)
        _require_guide("guide", self.guide)
        size = self.batch_size
        require(0 < size <= MAX_BATCH, "batch_size", size, f"1 to {MAX_BATCH:,}")


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationConfig(Config):
    """How a checkpoint is scored."""

    objectives: tuple[Objective, ...] = ("fid/all",)
    """The score that a trial is ranked by, and that chooses its omega; several make a Pareto
    front."""
    constraints: tuple[str, ...] = ()
    """What a best trial must keep to, such as "fid/many <= baseline + 5%" or "fid/all <= 40"."""
    num_samples: int = 10_000
    """Images of the score at the chosen omega, over all classes."""
    guidance_scales: tuple[float, ...] = (0.0, 0.5, 1.0, 2.0)
    """The grid of omega."""
    samplers: tuple[str, ...] = ()
    """Samplers to choose from on each checkpoint, such as ddim-8 or ancestral-unclipped; none
    stands for that of `sampling`. See `diffrop.samplers`."""
    ema_lengths: tuple[float | None, ...] = ()
    """Averages of the weights to choose from, as in `sampling.ema_length`; none stands for it."""
    guidance_intervals: tuple[GuidanceInterval, ...] = ()
    """Intervals to choose from, as in `sampling.guidance_interval`; none stands for it."""
    guides: tuple[float | None, ...] = ()
    """Guides to choose from, as in `sampling.guide`, null for the null label; none stands for
    it."""
    omega_search: OmegaSearch = "halving"
    """How omega, its interval, its guide, sampler and average are chosen: by successive halving
    with growing numbers of samples, or each at the full number."""
    prefer_cheap: float | None = None
    """For the last score, take the cheapest choice (fewest evaluations of the network) whose
    objectives exceed the best's by at most this share, at the upper end of the paired 95 %
    interval; None takes the best at any cost."""
    metrics: tuple[Metric, ...] = get_args(Metric)
    """Metrics of the last score at its best omega; the others are FID alone. See
    docs/metrics.md."""
    extractor: str = "inception-v3-compat"
    """A name of `diffrop.metrics.extractors.EXTRACTORS`, or package.module:factory."""
    extractor_weights: str | None = None
    """File, or URL#sha256=HEX, with the extractor's weights; None takes the published ones."""
    extractor_precision: ExtractorPrecision = "fp32"
    """fp32 is strict. The others are faster on GPUs, shift scores, and stand in the name."""
    seed: int = 12345
    """Seed of the noise of the samples; the same for every trial (common random numbers)."""

    def check(self) -> None:
        """Refuse empty or doubled grids."""
        count = self.num_samples
        require(2 <= count <= MAX_SAMPLES, "num_samples", count, f"at least 2, to {MAX_SAMPLES:,}")
        objectives = self.objectives
        distinct = bool(objectives) and len(set(objectives)) == len(objectives)
        require(distinct, "objectives", objectives, "one or several distinct scores")
        scales = self.guidance_scales
        unique = bool(scales) and len(set(scales)) == len(scales) and min(scales) >= 0
        require(unique, "guidance_scales", scales, "distinct numbers, 0 or more")
        for name in ("samplers", "ema_lengths", "guidance_intervals", "guides"):
            values = getattr(self, name)
            require(len(set(values)) == len(values), name, values, "distinct values")
        for interval in self.guidance_intervals:
            _require_interval("guidance_intervals", interval)
        for guide in self.guides:
            _require_guide("guides", guide)
        margin = self.prefer_cheap
        require(margin is None or 0 < margin < 1, "prefer_cheap", margin, "over 0, below 1")
        require("fid" in self.metrics, "metrics", self.metrics, "fid and others")
        require(0 <= self.seed < 2**31, "seed", self.seed, "0 to 2^31 - 1")
        parse_constraints(self.constraints)

    @property
    def parsed_constraints(self) -> tuple[Constraint, ...]:
        """The constraints as rules that can be applied to scores."""
        return parse_constraints(self.constraints)

    @property
    def objective(self) -> Objective:
        """The first objective; with several, trials are also ordered by it."""
        return self.objectives[0]


@dataclass(frozen=True, kw_only=True, slots=True)
class ExperimentConfig(Config):
    """Everything that determines one training and its score."""

    data: DataConfig = field(default_factory=DataConfig)
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    diffusion: DiffusionConfig = field(default_factory=DiffusionConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    contrastive: ContrastiveConfig = field(default_factory=ContrastiveConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)

    def check(self) -> None:
        """Checks that concern several parts at once."""
        size, group = self.training.batch_size, self.diffusion.group_size
        if self.diffusion.timesteps == "grouped":
            allowed = f"a multiple of the timestep group size {group}"
            require(size % group == 0, "training.batch_size", size, allowed)
        steps, limit = self.sampling.num_steps, self.diffusion.num_timesteps
        fits = self.sampling.sampler == "ancestral" or steps <= limit
        require(fits, "sampling.num_steps", steps, f"at most diffusion.num_timesteps = {limit}")
        self.training.check_average(self.sampling.ema_length, "sampling.ema_length")
        pcl = self.contrastive
        if (pcl.form, pcl.margin_rule, pcl.space) == ("hinge", "oracle", "eps"):
            allowed = "own, because the oracle margin in eps space is 0 for shared noise"
            noise = self.diffusion.noise
            require(noise == "own", "diffusion.noise", noise, allowed)
        start, end = self.contrastive.start_images, self.training.num_images
        active = self.contrastive.form == "none" or start < end
        allowed = f"less than training.num_images = {end}"
        require(active, "contrastive.start_images", start, allowed)

    @property
    def scored_lengths(self) -> tuple[float | None, ...]:
        """Averages of the weights that a checkpoint is scored with; None is the exponential."""
        return self.evaluation.ema_lengths or (self.sampling.ema_length,)

    @property
    def reconstructed_lengths(self) -> tuple[float, ...]:
        """Those of them that the training does not keep."""
        lengths, kept = dict.fromkeys(self.scored_lengths), self.training.ema_lengths
        return tuple(length for length in lengths if length is not None and length not in kept)

    @property
    def scored_guides(self) -> tuple[float | None, ...]:
        """What a checkpoint may be guided with; None is the null label."""
        return self.evaluation.guides or (self.sampling.guide,)

    def with_values(self, values: Mapping[str, Any]) -> "ExperimentConfig":
        """Return a copy with dotted keys replaced, as in {"contrastive.tau_0": 3.0}.

        Raises:
            ValueError: a key is unknown, a value is not allowed, or the whole does not fit.
        """
        nested = self.to_dict()
        for key, value in values.items():
            set_key(nested, key, value)
        return ExperimentConfig.from_dict(nested)
