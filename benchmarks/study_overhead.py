"""Time what a study spends apart from its steps: start-up, a shared GPU, and idle time.

Every trial here is a process of its own, as in a study. Idle is the share of a whole study's wall
time in which the driver reports no kernel running, asked of nvidia-smi several times a second.

    python -m benchmarks.study_overhead
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image

from benchmarks import aims
from benchmarks.gpu import device, gpu
from benchmarks.measure import Row, experiment, judged, made_images, report
from benchmarks.sizes import sizes
from diffrop.training.trainer import Trainer

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("start", "sharing", "study")
CACHE_VARIABLE = "TORCHINDUCTOR_CACHE_DIR"
READY_S = 300
"""How long a trial waits for the other one, which may have failed."""


def first_step_seconds(cache: Path) -> float:
    """Return the time from a trial's process start to the end of its first optimiser step."""
    start = time.monotonic()
    _finish(_child(["--child-first-step"], cache))
    return time.monotonic() - start


def start_rows(cache: Path) -> Iterator[Row]:
    """Time a first trial, which compiles, and one that finds the cache of the first."""
    cold = first_step_seconds(cache)
    yield Row(what="process start to first step, cold cache", ours=cold, unit="s")
    warm = first_step_seconds(cache)
    yield Row(
        what="process start to first step, warm cache",
        plain=cold,
        ours=warm,
        unit="s",
        aim=aims.START.text,
        **judged(warm / cold, warm <= 15),
    )


def sharing_rows(cache: Path) -> Iterator[Row]:
    """Compare two trials at a time on one device with one: images per second in all."""
    alone = _speeds(1, cache)
    both = _speeds(2, cache)
    ratio = sum(speed for speed, _, _ in both) / alone[0][0]
    memory = max(peak for _, peak, _ in both)
    whole = both[0][2]
    fits = whole == 0 or memory <= whole / 2
    yield Row(
        what="two trials at a time on one device, by halves",
        plain=alone[0][0],
        ours=sum(speed for speed, _, _ in both),
        memory_mib=memory if whole else None,
        aim=aims.SHARING.text,
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
    chip, size = gpu(), sizes()
    if count > 1 and chip is not None:
        chip.keep_to(1 / count)
    trainer = Trainer(experiment(), made_images(), device())
    for _ in range(size.warm_up_steps):
        trainer.step()["loss/ddpm"].item()
    (folder / str(number)).touch()
    deadline = time.monotonic() + READY_S
    while len(list(folder.iterdir())) < count:
        if time.monotonic() > deadline:
            raise TimeoutError(f"fewer than {count} trials were ready after {READY_S} s")
        time.sleep(0.01)
    steps, start = 0, time.monotonic()
    while time.monotonic() - start < size.training_s:
        for _ in range(1 if chip is None else 10):
            loss = trainer.step()["loss/ddpm"]
            steps += 1
        loss.item()
    speed = steps * trainer.config.training.batch_size / (time.monotonic() - start)
    peak, whole = (0.0, 0.0) if chip is None else (chip.peak_mib(), chip.memory_mib())
    print(json.dumps([speed, peak, whole]))


def child_first_step() -> None:
    """Do what a trial does up to the end of its first step."""
    trainer = Trainer(experiment(), made_images(), device())
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


def idle_rows(work: Path, num_images: int, folder: Path | None) -> Iterator[Row]:
    """Run a whole study while the GPU is watched; its network is the paper's.

    What a first trial compiles is part of it: trials that are shorter than those of a study show
    more idle time than that has.

    Args:
        work: an empty folder.
        num_images: images seen by a trial.
        folder: holds a folder of images for each class, such as CIFAR-10's, which are made
            long-tailed; None makes some.
    """
    what, chip = f"GPU idle in a whole study, trials of {num_images:,} images", gpu()
    if chip is None:
        yield Row(what=what, unit="%", aim=aims.IDLE.text)
        return
    imbalance_factor = "0.01"
    if folder is None:
        folder, imbalance_factor = work / "images", "own"
        write_folder(folder)
    watch = subprocess.Popen(chip.watch(), stdout=subprocess.PIPE, text=True)
    try:
        command = study_command(work / "runs", folder, imbalance_factor, num_images)
        ended = subprocess.run(
            command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        if ended.returncode:
            said = ended.stderr.strip().split("\n")[-1]
            raise RuntimeError(f"the study ended with {ended.returncode}: {said}")
    finally:
        watch.terminate()
        lines, _ = watch.communicate()
    idle = idle_share(read_utilisations(lines))
    yield Row(
        what=what,
        ours=100 * idle,
        unit="%",
        aim=aims.IDLE.text,
        ratio=idle,
        reached=idle <= 0.15,
    )


def study_command(runs: Path, folder: Path, imbalance_factor: str, num_images: int) -> list[str]:
    """Return the command of a study of four trials that trains, samples and scores."""
    size = sizes()
    options = {
        "--study-name": "overhead",
        "--runs-root": runs,
        "--dataset": "image_folder",
        "--data-root": folder,
        "--imbalance-factor": imbalance_factor,
        "--trials": 4,
        "--images": num_images,
        "--first-rung": num_images // 4,
        "--num-samples": size.study_samples,
        "--rung-samples": size.study_samples // 5,
        "--extractor": "classifier",
        "--budget-wall": f"{size.study_budget_s}s",
    }
    settings = {
        "data.image_size": size.image_size,
        "model.base_channels": size.model.base_channels,
        "model.channel_multipliers": list(size.model.channel_multipliers),
        "model.num_res_blocks": size.model.num_res_blocks,
        "model.attention_resolutions": list(size.model.attention_resolutions),
        "training.batch_size": size.batch_size,
    }
    command = [sys.executable, "studies/run_tau_sweep.py"]
    for option, value in options.items():
        command += [option, str(value)]
    for key, value in settings.items():
        command += ["--set", f"{key}={value}"]
    return command


def write_folder(folder: Path) -> None:
    """Write made images, one folder a class."""
    data = made_images().train
    for number, (image, label) in enumerate(zip(data.images, data.labels.tolist(), strict=True)):
        path = folder / data.class_names[label] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(path)


def _child(arguments: list[str], cache: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, CACHE_VARIABLE: str(cache)}
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
    add("--part", choices=PARTS, help="what alone is measured (all)")
    add(
        "--images",
        type=int,
        default=sizes().study_images,
        metavar="N",
        help=f"images seen by a trial of the study ({sizes().study_images})",
    )
    add("--quick", action="store_true", help="a quarter of the images")
    add("--image-folder", type=Path, metavar="DIR", help="of the study: a folder a class (made)")
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
        images = args.images // 4 if args.quick else args.images
        cold, warm = work / "cold", Path(os.environ.get(CACHE_VARIABLE, work / "cold"))
        rows = {
            "start": start_rows(cold),
            "sharing": sharing_rows(warm),
            "study": idle_rows(work, images, args.image_folder),
        }
        parts = PARTS if args.part is None else (args.part,)
        chosen = itertools.chain(*(rows[part] for part in parts))
        report("study_overhead", chosen, {}, args.out)


if __name__ == "__main__":
    main()
