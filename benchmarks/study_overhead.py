"""Time what a study spends apart from its steps: start-up, a shared GPU, and idle time.

Every trial here is a process of its own, as in a study. Idle is the share of a whole study's wall
time in which the driver reports no kernel running, asked of nvidia-smi several times a second.

    python -m benchmarks.study_overhead
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image

from benchmarks.measure import Row, device, experiment, judged, made_images, report
from diffrop.training.trainer import Trainer

ROOT = Path(__file__).resolve().parents[1]
POLL_INTERVAL_MS = 200
WARM_UP_STEPS = 8
TRAINING_S = 30 if torch.cuda.is_available() else 3
READY_S = 300
"""How long a trial waits for the other one, which may have failed."""


def first_step_seconds(cache: Path) -> float:
    """Return the time from a trial's process start to the end of its first optimiser step."""
    start = time.monotonic()
    _finish(_child(["--child-first-step"], cache))
    return time.monotonic() - start


def start_rows(cache: Path) -> list[Row]:
    """Time a first trial, which compiles, and one that finds the cache of the first."""
    cold, warm = first_step_seconds(cache), first_step_seconds(cache)
    return [
        Row(what="process start to first step, cold cache", ours=cold, unit="s"),
        Row(
            what="process start to first step, warm cache",
            plain=cold,
            ours=warm,
            unit="s",
            aim="<= 15 s",
            **judged(warm / cold, warm <= 15),
        ),
    ]


def sharing_row(cache: Path) -> Row:
    """Compare two trials at a time on one device with one: images per second in all."""
    alone = _speeds(1, cache)
    both = _speeds(2, cache)
    ratio = sum(speed for speed, _, _ in both) / alone[0][0]
    memory = max(peak for _, peak, _ in both)
    whole = both[0][2]
    fits = whole == 0 or memory <= whole / 2
    return Row(
        what="two trials at a time on one device, by halves",
        plain=alone[0][0],
        ours=sum(speed for speed, _, _ in both),
        memory_mib=memory if whole else None,
        aim=">= 1.0 times one after the other, memory within the half",
        **judged(ratio, ratio >= 1.0 and fits),
    )


def _speeds(count: int, cache: Path) -> list[tuple[float, float, float]]:
    """Return images/s, peak MiB and the device's MiB of trials that train at the same time."""
    with tempfile.TemporaryDirectory() as folder:
        children = [
            _child(["--child-train", folder, str(count), str(number)], cache)
            for number in range(count)
        ]
        try:
            return [tuple(json.loads(_finish(child))) for child in children]
        finally:
            for child in children:
                child.kill()


def child_train(folder: Path, count: int, number: int) -> None:
    """Train for a while, starting when all children are ready; print speed and memory.

    As in a study, each keeps to its part of a GPU.
    """
    if count > 1 and torch.cuda.is_available():
        torch.cuda.set_per_process_memory_fraction(1 / count)
    trainer = Trainer(experiment(torch.cuda.is_available()), made_images(), device())
    for _ in range(WARM_UP_STEPS if torch.cuda.is_available() else 1):
        trainer.step()["loss/ddpm"].item()
    (folder / str(number)).touch()
    deadline = time.monotonic() + READY_S
    while len(list(folder.iterdir())) < count:
        if time.monotonic() > deadline:
            raise TimeoutError(f"fewer than {count} trials were ready after {READY_S} s")
        time.sleep(0.01)
    steps, start = 0, time.monotonic()
    while time.monotonic() - start < TRAINING_S:
        for _ in range(10 if torch.cuda.is_available() else 1):
            loss = trainer.step()["loss/ddpm"]
            steps += 1
        loss.item()
    speed = steps * trainer.config.training.batch_size / (time.monotonic() - start)
    peak, whole = 0.0, 0.0
    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        del free
        peak, whole = torch.cuda.max_memory_reserved() / 2**20, total / 2**20
    print(json.dumps([speed, peak, whole]))


def child_first_step() -> None:
    """Do what a trial does up to the end of its first step."""
    trainer = Trainer(experiment(torch.cuda.is_available()), made_images(), device())
    trainer.step()["loss/ddpm"].item()


def idle_share(utilisations: Sequence[float]) -> float:
    """Return the share of time without a kernel.

    Args:
        utilisations: percent of each sampling period in which a kernel ran, in order.
    """
    if not utilisations:
        raise ValueError("no utilisation was sampled; allowed: at least one")
    return 1 - sum(utilisations) / (100 * len(utilisations))


def read_utilisations(text: str) -> list[float]:
    """Parse nvidia-smi's lines of one number; others, such as [N/A], are skipped."""
    return [float(line) for line in text.split("\n") if line.strip().isdigit()]


def idle_row(work: Path, num_images: int) -> Row:
    """Run a whole study of the paper's network on made images while the GPU is watched.

    What a first trial compiles is part of it: trials that are shorter than those of a study show
    more idle time than that has.
    """
    aim = "<= 15 % of wall time"
    what = f"GPU idle in a whole study, trials of {num_images:,} images"
    if not torch.cuda.is_available():
        return Row(what=what, unit="%", aim=aim)
    write_folder(work / "images")
    watch = subprocess.Popen(
        [
            "nvidia-smi",
            f"--id={_gpu_id()}",
            f"--loop-ms={POLL_INTERVAL_MS}",
            "--query-gpu=utilization.gpu",
            "--format=csv,noheader,nounits",
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        subprocess.run(
            study_command(work, num_images), cwd=ROOT, check=True, stdout=subprocess.DEVNULL
        )
    finally:
        watch.terminate()
        lines, _ = watch.communicate()
    idle = idle_share(read_utilisations(lines))
    return Row(what=what, ours=100 * idle, unit="%", aim=aim, ratio=idle, reached=idle <= 0.15)


def _gpu_id() -> str:
    """Return the name by which nvidia-smi knows the GPU that this process sees first."""
    return f"GPU-{torch.cuda.get_device_properties(0).uuid}"


def study_command(work: Path, num_images: int) -> list[str]:
    """Return the command of a study of four trials that trains, samples and scores."""
    return [
        sys.executable,
        "studies/run_tau_sweep.py",
        "--study-name",
        "overhead",
        "--runs-root",
        str(work / "runs"),
        "--dataset",
        "image_folder",
        "--data-root",
        str(work / "images"),
        "--imbalance-factor",
        "own",
        "--trials",
        "4",
        "--images",
        str(num_images),
        "--first-rung",
        str(num_images // 4),
        "--num-samples",
        "5000",
        "--rung-samples",
        "1000",
        "--extractor",
        "classifier",
    ]


def write_folder(folder: Path) -> None:
    """Write made images, one folder a class."""
    data = made_images().train
    for number, (image, label) in enumerate(zip(data.images, data.labels.tolist(), strict=True)):
        path = folder / data.class_names[label] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(path)


def _child(arguments: list[str], cache: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": str(cache)}
    command = [sys.executable, "-m", "benchmarks.study_overhead", *arguments]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)


def _finish(child: subprocess.Popen[str]) -> str:
    """Wait for a child and return the last line it printed; RuntimeError if it failed."""
    output, _ = child.communicate()
    if child.returncode:
        raise RuntimeError(f"{' '.join(map(str, child.args))} ended with {child.returncode}")  # type: ignore[arg-type]
    lines = output.strip().split("\n")
    return lines[-1]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--out", type=Path, metavar="FILE", help="JSON (results/study_overhead.json)")
    add("--images", type=int, default=800_000, metavar="N", help="images seen by a trial (800000)")
    add("--child-first-step", action="store_true", help=argparse.SUPPRESS)
    add("--child-train", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child_first_step:
        child_first_step()
        return
    if args.child_train:
        folder, count, number = args.child_train
        child_train(Path(folder), int(count), int(number))
        return
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        cache = work / "inductor"
        rows = [*start_rows(cache), sharing_row(cache), idle_row(work, args.images)]
    report("study_overhead", rows, {}, args.out)


if __name__ == "__main__":
    main()
