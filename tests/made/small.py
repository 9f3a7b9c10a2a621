"""Small experiments and inputs that several test modules share."""

import dataclasses
from pathlib import Path

import torch

from diffrop.config import (
    ContrastiveConfig,
    DataConfig,
    DiffusionConfig,
    EvaluationConfig,
    ExperimentConfig,
    ModelConfig,
    SamplingConfig,
    TrainingConfig,
)
from diffrop.data import Dataset, load_dataset
from diffrop.execution.trial import TrialTask
from diffrop.metrics.features import FeatureExtractor
from diffrop.metrics.reference import Reference
from diffrop.scoring.samples import ScoringInputs
from diffrop.study.config import StudyConfig
from diffrop.study.rung import Rung
from diffrop.study.space import Parameter, SearchSpace
from diffrop.training.identity import identify
from diffrop.training.store import CheckpointStore

ROOT = Path(__file__).resolve().parents[2]
SPACE = ROOT / "search_spaces" / "tau.yaml"


def small_experiment(form: str = "reciprocal", **changes: object) -> ExperimentConfig:
    """A network of 20,000 weights on digits; two rungs of 64 and 128 images fit in a second."""
    config = ExperimentConfig(
        data=DataConfig(dataset="digits", imbalance_factor=0.1),
        model=ModelConfig(
            base_channels=8,
            channel_multipliers=(1,),
            num_res_blocks=1,
            attention_resolutions=(),
            dropout=0.0,
        ),
        diffusion=DiffusionConfig(),
        contrastive=ContrastiveConfig(form=form),  # type: ignore[arg-type]
        training=TrainingConfig(
            num_images=128,
            batch_size=32,
            warmup_images=64,
            log_every_images=32,
            grad_ratio_every_steps=2,
            checkpoint_every_images=64,
        ),
        sampling=SamplingConfig(num_steps=2, batch_size=20),
        evaluation=EvaluationConfig(
            num_samples=40, guidance_scales=(0.0, 1.0), extractor="classifier"
        ),
    )
    return config.with_values({key.replace("__", "."): value for key, value in changes.items()})


def small_study(name: str = "small", **changes: object) -> StudyConfig:
    """Three trials of `small_experiment` by ASHA, with one rung before the last."""
    settings: dict[str, object] = {
        "num_trials": 3,
        "first_rung_images": 64,
        "rung_samples": 20,
        "scheduler": "asha",
    }
    return StudyConfig(
        name=name,
        space=SearchSpace.load(SPACE),
        experiment=small_experiment(),
        **(settings | changes),  # type: ignore[arg-type]
    )


def constrained(study: StudyConfig, *constraints: str) -> StudyConfig:
    """Return a study whose trials are to keep these constraints."""
    values = {"evaluation.constraints": list(constraints)}
    return dataclasses.replace(study, experiment=study.experiment.with_values(values))


def learning_rate_study(learning_rate: float, **changes: object) -> StudyConfig:
    """A small study whose trials differ from the baseline in form and learning rate alone."""
    study = small_study(**changes)  # type: ignore[arg-type]
    parameter = Parameter(
        name="training.learning_rate", choices=(learning_rate,), source="the test's own"
    )
    return dataclasses.replace(study, space=SearchSpace(parameters=(parameter,)))


class RowBrightness(torch.nn.Module):
    """Mean brightness of each row: cheap features for tests that are not about features."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return (B, H)."""
        return images.float().mean(dim=(1, 3))


def pixel_extractor() -> FeatureExtractor:
    """An extractor of `RowBrightness`."""
    return FeatureExtractor(RowBrightness(), "pixels")


def small_inputs(dataset: Dataset | None = None) -> ScoringInputs:
    """Scoring inputs of digits with `pixel_extractor`."""
    dataset = dataset or load_dataset(small_experiment().data)
    extractor = pixel_extractor()
    features = extractor.extract(dataset.reference.images).features
    reference = Reference.fit(features, dataset.reference.labels, dataset.shot_groups)
    return ScoringInputs(dataset, extractor, reference)


def small_task(
    directory: Path,
    config: ExperimentConfig | None = None,
    rungs: tuple[Rung, ...] | None = None,
    parent: str | None = None,
    **changes: object,
) -> TrialTask:
    """A trial of one worker in a study's folder, which is its folder's parent."""
    config = config or small_experiment()
    digest = load_dataset(config.data).train_digest
    settings: dict[str, object] = {
        "store": CheckpointStore(directory.parent.parent / "checkpoints"),
        "training": identify(config, 1, digest, parent),
        "study": directory.parent.name,
        "stop_directory": directory.parent,
    }
    return TrialTask(
        directory=directory,
        config=config,
        rungs=rungs or small_study().rungs,
        **(settings | changes),  # type: ignore[arg-type]
    )
