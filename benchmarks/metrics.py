"""Time the metrics beside independent implementations; prints one table of ratios.

All rows are measured in this run, on this machine.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import scipy.linalg
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_isc import isc_features_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric

from diffrop.config import Metric
from diffrop.metrics.extractor_networks import Inception
from diffrop.metrics.features import Extraction, FeatureExtractor
from diffrop.metrics.frechet import GaussianStatistics, frechet_distance, gaussian_statistics
from diffrop.metrics.intervals import fid_estimate
from diffrop.metrics.neighbours import precision_recall
from diffrop.metrics.reference import Reference
from diffrop.metrics.report import balanced_labels, evaluate

DIM = 2048
GROUPS = {"many": [0, 1, 2], "medium": [3, 4, 5, 6], "few": [7, 8, 9]}
SCORED: tuple[Metric, ...] = ("fid", "kid", "inception_score", "precision_recall", "prd")


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    what: str
    ours: str
    peer: str
    ratio: str
    aim: str


def seconds(work: Callable[[], object], repeats: int = 3) -> float:
    """Return the least time of several calls."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return min(times)


def features(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return correlated features (count, DIM), float32, about ten class means, and labels."""
    rng = torch.Generator().manual_seed(seed)
    scale = torch.arange(1, DIM + 1).pow(-0.5)
    labels = balanced_labels(count, 10)
    means = torch.randn(10, DIM, generator=torch.Generator().manual_seed(0))
    x = torch.randn(count, DIM, generator=rng)
    return x.add_(means[labels]).mul_(scale), labels


def eigh_form(a: Tensor, b: Tensor) -> Tensor:
    """Return the trace term from covariances, by the root of one of them."""
    values, vectors = torch.linalg.eigh(a)
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    return torch.linalg.eigvalsh(root @ b @ root).clamp(min=0).sqrt().sum()


def frechet_rows(with_sqrtm: bool) -> list[Row]:
    """Time a step: from the statistics of both sets to the distance."""
    reference, fewer = features(8000, 1)[0], features(1000, 3)[0]
    fitted = gaussian_statistics(reference)
    theirs_reference = fid_features_to_statistics(reference)
    rows = []
    for count in (4000, 1000):
        x = features(count, 2)[0]
        ours, theirs = gaussian_statistics(x), fid_features_to_statistics(x)
        own = seconds(partial(frechet_distance, ours, fitted))
        peer = seconds(
            partial(fid_statistics_to_metric, theirs, theirs_reference, verbose=False), 1
        )
        small = count < DIM
        what = f"Frechet step, N = {count:,}, D = {DIM:,}"
        aim = "0.25 s" if small else "3 times"
        rows.append(Row(what, span(own), f"torch-fidelity {span(peer)}", f"{peer / own:.1f}", aim))
        covariances = ours.covariance, fitted.covariance
        if small:
            both = seconds(partial(frechet_distance, ours, gaussian_statistics(fewer)))
            rows.append(Row(f"{what}, N_ref = 1,000", span(both), "", "", "0.25 s"))
        else:
            peer = seconds(partial(eigh_form, *covariances))
            rows.append(Row(what, span(own), f"eigh form {span(peer)}", f"{peer / own:.1f}", "1"))
            interval = seconds(partial(fid_estimate, x, fitted), 1)
            ratio = f"{interval / own:.1f} steps"
            rows.append(Row(f"interval, N = {count:,}", span(interval), "", ratio, "10 steps"))
        if with_sqrtm:
            product = (covariances[0] @ covariances[1]).numpy()
            peer = seconds(partial(scipy.linalg.sqrtm, product), 1)
            rows.append(Row(what, span(own), f"scipy sqrtm {span(peer)}", f"{peer / own:.0f}", ""))
    return rows


def report_rows(count: int) -> list[Row]:
    """Time the whole per-shot report from features, against torch-fidelity once a group."""
    x, labels = features(count, 2)
    real, real_labels = features(count, 1)
    logits = x[:, :1000]
    reference = Reference.fit(real, real_labels, GROUPS)
    samples = Extraction("made", x, logits)

    def ours(metrics: tuple[Metric, ...], intervals: bool) -> float:
        score = partial(evaluate, metrics=metrics, details=intervals)
        return seconds(partial(score, samples, labels, reference, sampler="none"), 1)

    own = {
        "no PRD": ours(SCORED[:-1], False),
        "PRD": ours(SCORED, False),
        "PRD, intervals": ours(SCORED, True),
    }

    def theirs() -> None:
        fits = {name: fid_features_to_statistics(real[rows]) for name, rows in members.items()}
        for name, rows in members.items():
            fit = fid_features_to_statistics(x[rows])
            for other in {name, "all"}:
                fid_statistics_to_metric(fit, fits[other], verbose=False)
            kid_features_to_metric(x[rows], real[rows], verbose=False)
            isc_features_to_metric(logits[rows])
            prc_features_to_metric(x[rows], real[rows], prc_neighborhood=5, verbose=False)

    groups = {"all": list(range(10)), **GROUPS}
    members = {name: torch.isin(labels, torch.tensor(of)) for name, of in groups.items()}
    peer = seconds(theirs, 1)
    return [
        Row(
            f"report, N = {count:,}, {name}",
            span(taken),
            f"torch-fidelity, no PRD {span(peer)}",
            f"{peer / taken:.1f}",
            "4",
        )
        for name, taken in own.items()
    ]


def precision_recall_row(count: int) -> Row:
    """Time precision and recall in a process of its own, and take its peak memory."""
    command = [sys.executable, __file__, "--only-precision-recall", str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    taken, peak, before = (float(part) for part in done.stdout.split())
    matrix = count**2 * 4 / 2**30
    return Row(
        f"precision, recall, {count:,} x {count:,}",
        f"{span(taken)}, {peak:.2f} GiB",
        f"one matrix {matrix:.1f} GiB",
        f"{before:.2f} GiB are the features",
        "2 GiB",
    )


def only_precision_recall(count: int) -> None:
    """Print seconds, peak GiB, and the GiB that were there before."""
    a, b = features(count, 1)[0], features(count, 2)[0]
    before = (a.nbytes + b.nbytes) / 2**30
    taken = seconds(partial(precision_recall, a, b), 1)
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    peak = int(status.split("VmHWM:")[1].split()[0]) / 2**20
    print(taken, peak, before)


def extractor_rows(weights: Path) -> list[Row]:
    """Time InceptionV3's features, and take the shift of FID by each precision.

    On a GPU if there is one, else with few images: there a speed says little.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    rng = torch.Generator().manual_seed(0)
    count = 4000 if device == "cuda" else 40
    shape = (count, 3, 32, 32)
    images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=rng).to(device)
    smooth = torch.nn.functional.avg_pool2d(images.float(), 4).repeat_interleave(4, 2)
    other = smooth.repeat_interleave(4, 3).byte()
    speeds, fits = {}, {}
    for precision in ("fp32", "tf32", "bf16"):
        extractor = FeatureExtractor(
            Inception(weights), "inception", batch_size=500, precision=precision
        )
        extractor.extract(images[:500])
        speeds[precision] = len(images) / seconds(partial(extractor.extract, images))
        fits[precision] = [
            gaussian_statistics(extractor.extract(x).features) for x in (images, other)
        ]
    strict: GaussianStatistics = fits["fp32"][1]
    base = frechet_distance(fits["fp32"][0], strict)
    rows = []
    for precision in ("tf32", "bf16"):
        shift = frechet_distance(fits[precision][0], strict) / base - 1
        rows.append(
            Row(
                f"InceptionV3 on {device}, {precision}",
                f"{speeds[precision]:,.0f} images/s",
                f"fp32 {speeds['fp32']:,.0f} images/s",
                f"{speeds[precision] / speeds['fp32']:.1f}; FID {100 * shift:+.3f} %",
                "3; 0.1 %",
            )
        )
    return rows


def span(time_s: float) -> str:
    """Return a time with three digits."""
    return f"{time_s:.3g} s" if time_s < 100 else f"{time_s:.0f} s"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--report-samples", type=int, default=10_000, metavar="N")
    add("--precision-recall-images", type=int, default=50_000, metavar="N")
    add("--no-sqrtm", action="store_true", help="leave scipy's sqrtm out (half a minute)")
    add(
        "--inception-weights",
        type=Path,
        metavar="FILE",
        help="file of weights, for InceptionV3's rows (best on a GPU)",
    )
    add("--only-precision-recall", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.only_precision_recall:
        only_precision_recall(args.only_precision_recall)
        return
    threads = torch.get_num_threads()
    table = Table("what", "ours", "peer", "ratio", "aim", title=f"{threads} threads", box=None)
    for row in frechet_rows(not args.no_sqrtm):
        table.add_row(row.what, row.ours, row.peer, row.ratio, row.aim)
    table.add_section()
    rows = report_rows(args.report_samples)
    rows.append(precision_recall_row(args.precision_recall_images))
    if args.inception_weights:
        rows += extractor_rows(args.inception_weights)
    for row in rows:
        table.add_row(row.what, row.ours, row.peer, row.ratio, row.aim)
    console = Console()
    console.print(table)
    if not args.inception_weights:
        console.print("InceptionV3's rows need --inception-weights: not measured.")


if __name__ == "__main__":
    main()
