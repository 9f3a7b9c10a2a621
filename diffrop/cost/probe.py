"""A short measurement of what a study will do for hours: train, sample, extract features."""

import contextlib
import dataclasses
import itertools
import math
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import torch

from diffrop.checkpoint_file import Checkpoint
from diffrop.config import ExperimentConfig, Metric
from diffrop.data import Dataset
from diffrop.diffusion.sampling import guided_noise
from diffrop.metrics.classifier import Classifier
from diffrop.metrics.extractors import make_extractor, needs_download
from diffrop.metrics.features import Extraction, FeatureExtractor
from diffrop.metrics.reference import Reference
from diffrop.metrics.report import balanced_labels, evaluate
from diffrop.record.cost import Probe
from diffrop.seeds import REFERENCE, generator
from diffrop.training.trainer import Trainer

STEPS = 50


LAUNCH_LIMIT_S, DRY_RUN_LIMIT_S = 3.0, 20.0
"""Of the training steps; sampling and features get half of that each. With the metrics, which take
some ten seconds, a dry run measures for less than a minute, unless a single step is longer."""


METRIC_SAMPLES = 500
"""Of the report that is timed; the metrics of a longer one are taken to be as much slower."""


NUM_REPEATED = 10
"""Images whose features stand for all of that report."""


REFERENCE_IMAGES = 5_000
"""Of a stand-in's reference, at most."""


SAMPLED_EVERY_S = 0.005


def measure_speeds(
    config: ExperimentConfig,
    dataset: Dataset,
    extractor: FeatureExtractor | None,
    device: torch.device,
    *,
    reference: Reference | None = None,
    cpus: int = 1,
    limit_s: float = LAUNCH_LIMIT_S,
) -> Probe:
    """Time up to `STEPS` training steps, denoising evaluations and features; writes nothing.

    Args:
        config: the training that is timed, and how it is sampled.
        dataset: its images.
        extractor: of the features, if there is one.
        device: of a worker.
        reference: what samples are scored against, if it is there; made with `extractor`.
        cpus: of a worker.
        limit_s: after so many seconds no further step begins. One always does.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(cpus)
    try:
        return _measure(config, dataset, extractor, device, reference, limit_s)
    finally:
        torch.set_num_threads(before)


def _measure(
    config: ExperimentConfig,
    dataset: Dataset,
    extractor: FeatureExtractor | None,
    device: torch.device,
    reference: Reference | None,
    limit_s: float,
) -> Probe:
    with peak_memory_mib(device) as memory:
        trainer = Trainer(config, dataset, device)
        for _ in range(trainer.num_warm_up_steps):  # on a GPU they compile and record
            trainer.step()
        first = _timed(lambda: trainer.step()["loss/ddpm"].item(), 0.0, 1)
        timed = first
        if first[1] < limit_s or config.training.compile:  # a first step also compiles
            timed = _timed(lambda: trainer.step()["loss/ddpm"].item(), limit_s, STEPS)
        train = timed[0] * config.training.batch_size / timed[1]
        count = _fitting(config.sampling.batch_size, 3 * train * limit_s / 8)
        x_t = torch.zeros(count, *dataset.image_shape, device=device)
        labels = torch.zeros(count, dtype=torch.int64, device=device)
        model = trainer.averages[None]  # any of them: they cost the same
        with torch.no_grad():
            args = (model, x_t, labels, labels, 1.0, dataset.num_classes)
            guided_noise(*args)  # compiles and records, where training does
            steps, seconds = _timed(lambda: guided_noise(*args).sum().item(), limit_s / 2, 20)
    features, metrics = None, (0.0, 0.0)
    if extractor is not None:
        some = dataset.reference.images[:NUM_REPEATED].to(device)
        first = _timed(lambda: extractor.extract(some), 0.0, 1)  # it also warms a GPU up
        count = _fitting(extractor.batch_size, len(some) / first[1] * limit_s / 4)
        images = dataset.reference.images[:count].to(device)
        batches, spent = _timed(lambda: extractor.extract(images), limit_s / 2, 5)
        features = batches * len(images) / spent
        if reference is not None:
            count = min(config.evaluation.num_samples, METRIC_SAMPLES)
            found = _repeated(extractor.extract(some), count)
            metrics = _time_metrics(config, dataset.num_classes, found, reference)
    return Probe(
        device=device.type,
        num_steps=timed[0],
        train_images_per_s=train,
        denoise_images_per_s=2 * steps * count / seconds,
        feature_images_per_s=features,
        fid_s=metrics[0],
        metrics_s=metrics[1],
        memory_mib=memory[0],
        checkpoint_mib=_size_mib(trainer.checkpoint()),
        snapshot_mib=_size_mib(trainer.snapshot()),
    )


def _size_mib(checkpoint: Checkpoint) -> float:
    tensors = checkpoint.tensors.values()
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors) / 2**20


def _repeated(found: Extraction, count: int) -> Extraction:
    """Return an extraction of so many images, made of a few: metrics of it take as long."""
    rows = torch.arange(count) % len(found.features)
    noise = torch.randn(count, found.features.shape[1], generator=generator("cpu", 0, REFERENCE))
    repeated = found.rows(rows)
    return dataclasses.replace(repeated, features=repeated.features + noise)


def _time_metrics(
    config: ExperimentConfig, num_classes: int, found: Extraction, reference: Reference
) -> tuple[float, float]:
    """Return the seconds of one report of FIDs, and of all metrics for each of its samples."""
    count = len(found.features)
    labels = balanced_labels(count, num_classes)

    def report(metrics: tuple[Metric, ...], details: bool) -> float:
        start = time.perf_counter()
        evaluate(found, labels, reference, sampler="probe", metrics=metrics, details=details)
        return time.perf_counter() - start

    return report(("fid",), False), report(config.evaluation.metrics, True) / count


def stand_ins(
    config: ExperimentConfig, dataset: Dataset, cache: Path
) -> tuple[FeatureExtractor, Reference] | None:
    """Return an extractor and a reference as slow as the configured ones.

    The classifier is not trained, and the features of the reference are random. None where the
    extractor would have to be downloaded first.

    Args:
        config: names the extractor, which may be called: see `make_extractor`.
        dataset: its images.
        cache: folder of what was downloaded.

    Raises:
        ValueError: weights or packages of the extractor are missing.
    """
    evaluation = config.evaluation
    if needs_download(evaluation, cache):
        return None
    if evaluation.extractor == "classifier":
        network = Classifier(dataset.image_shape, dataset.num_classes)
        precision = evaluation.extractor_precision
        extractor = FeatureExtractor(network, "untrained", batch_size=500, precision=precision)
    else:
        source = dataset.reference, dataset.name, cache
        extractor = make_extractor(evaluation, *source, trusted=True)
    labels = dataset.reference.labels
    labels = labels[:: math.ceil(len(labels) / REFERENCE_IMAGES)]  # of all classes
    size = extractor.extract(dataset.reference.images[:1]).features.shape[1]
    features = torch.randn(len(labels), size, generator=generator("cpu", 0, REFERENCE))
    reference = Reference.fit(
        features,
        labels,
        dataset.shot_groups,
        training=(features, labels),
        heldout=(features, labels),
    )
    return extractor, reference


def _timed(run: Callable[[], object], limit_s: float, most: int) -> tuple[int, float]:
    """Run at least once, and again within the limit; return how often and the seconds."""
    start = time.perf_counter()
    for done in itertools.count(1):
        run()
        elapsed = time.perf_counter() - start
        if done >= most or elapsed >= limit_s:
            return done, elapsed
    raise AssertionError


def _fitting(batch_size: int, images: float) -> int:
    """Return a batch that is small enough to be timed more than once."""
    return max(1, min(batch_size, int(images)))


@contextlib.contextmanager
def peak_memory_mib(device: torch.device) -> Iterator[list[float]]:
    """Yield a list whose one number, at the end, is what was held at most meanwhile.

    On a GPU that is what PyTorch reserved there, CUDA graphs' memory included; on a CPU, by how
    much the process grew, looked at every few milliseconds.
    """
    found = [0.0]
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        yield found
        found[0] = torch.cuda.max_memory_reserved(device) / 2**20
        return
    process, ended = psutil.Process(), threading.Event()
    before = process.memory_info().rss

    def look() -> None:
        while not ended.wait(SAMPLED_EVERY_S):
            found[0] = max(found[0], (process.memory_info().rss - before) / 2**20)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        ended.set()
        thread.join()
