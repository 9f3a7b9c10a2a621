"""Check and time everything that a GPU does, in ten minutes at most, the most telling first.

Every stage is a process of its own with a time limit; what it wrote up to its end, or up to its
limit, is kept. torch, numpy, pillow, rich and safetensors are needed; a stage that needs more says
what is missing. Nothing is downloaded.

    python -m benchmarks.gpu_check
    python -m benchmarks.gpu_check --stand-in    # on a CPU, with small sizes
"""

import argparse
import contextlib
import importlib.util
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from rich.console import Console

from benchmarks import measure
from benchmarks.aims import STAND_IN
from benchmarks.gpu import DEVICE_VARIABLE, gpu

ROOT = Path(__file__).resolve().parents[1]
GRACE_S = 10.0
"""Between a stage's SIGTERM and its SIGKILL, at the end of its limit."""
LEAST_S = 30.0
"""With less time left than this, no stage begins."""
TOTAL_S = 600.0
State = Literal["done", "failed", "stopped", "not run"]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A benchmark of this package, and how long it may take."""

    name: str
    arguments: tuple[str, ...]
    """Of `python -m`."""
    limit_s: float
    needs: tuple[str, ...] = ()
    """Packages without which it is left out."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a stage ended."""

    stage: str
    state: State
    why: str
    """One sentence; "" if it is done."""
    seconds: float
    result: dict[str, Any] | None
    """What the benchmark wrote, complete or not; see `benchmarks.measure.report`."""


def stages(image_folder: Path | None) -> tuple[Stage, ...]:
    """Return the stages in order.

    Args:
        image_folder: of the study: a folder of images for each class; None makes some.
    """
    overhead = "benchmarks.study_overhead"
    images = () if image_folder is None else ("--image-folder", str(image_folder))
    return (
        Stage(name="correctness", arguments=("benchmarks.gpu_correctness",), limit_s=170),
        Stage(name="training", arguments=("benchmarks.train_step", "--quick"), limit_s=150),
        Stage(name="evaluation", arguments=("benchmarks.sampling", "--quick"), limit_s=90),
        Stage(name="start", arguments=(overhead, "--part", "start"), limit_s=130),
        Stage(name="sharing", arguments=(overhead, "--part", "sharing"), limit_s=90),
        Stage(
            name="study",
            arguments=(overhead, "--part", "study", "--quick", *images),
            limit_s=180,
            needs=("ray", "mlflow", "optuna"),
        ),
        Stage(
            name="agreement",
            arguments=("benchmarks.train_step", "--agreement"),
            limit_s=120,
            needs=("sklearn",),  # its images
        ),
    )


def run_stage(stage: Stage, folder: Path, limit_s: float) -> Outcome:
    """Run a stage; its rows go to `folder/<name>.json`, what it prints to `folder/<name>.log`.

    Args:
        stage: what is run.
        folder: exists.
        limit_s: seconds after which it and all that it started are gone.
    """
    out, log = folder / f"{stage.name}.json", folder / f"{stage.name}.log"
    out.unlink(missing_ok=True)
    start = time.monotonic()
    missing = [name for name in stage.needs if not is_installed(name)]
    if missing:
        why = f"{' and '.join(missing)} cannot be imported"
        return _outcome(stage, "not run", why, start, out)
    if limit_s < LEAST_S:
        return _outcome(stage, "not run", f"{max(0, limit_s):.0f} s are left", start, out)
    command = [sys.executable, "-m", *stage.arguments, "--out", str(out)]
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT, process_group=0
        )
        try:
            process.wait(limit_s - GRACE_S)
        except subprocess.TimeoutExpired:
            _signal(process, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(GRACE_S)
            why = f"it was stopped at its limit of {limit_s:.0f} s"
            return _outcome(stage, "stopped", why, start, out)
        finally:
            _signal(process, signal.SIGKILL)  # what it started, and itself if it still runs
            process.wait()
    if process.returncode:
        return _outcome(stage, "failed", last_line(log), start, out)
    return _outcome(stage, "done", "", start, out)


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _outcome(stage: Stage, state: State, why: str, start: float, out: Path) -> Outcome:
    result = json.loads(out.read_text(encoding="utf-8")) if out.exists() else None
    taken = time.monotonic() - start
    return Outcome(stage=stage.name, state=state, why=why, seconds=taken, result=result)


def is_installed(package: str) -> bool:
    """Return whether a package can be found; it is not imported."""
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:
        return False


def last_line(log: Path) -> str:
    """Return the last line of what a process printed, where Python puts what ended it."""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().split("\n")
    return lines[-1].strip()[:300] or "it printed nothing"


def check(planned: Sequence[Stage], out: Path, total_s: float, console: Console) -> list[Outcome]:
    """Run the stages one after another, and write and print what each found as it ends.

    Args:
        planned: the stages, in order.
        out: the JSON; logs and rows of the stages lie beside it, in a folder of its name.
        total_s: no stage's limit is later than this.
        console: where tables go.
    """
    deadline, outcomes = time.monotonic() + total_s, list[Outcome]()
    chip = gpu()
    about = {
        "date": measure.now(),
        "device": "cpu" if chip is None else chip.name,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "total_s": total_s,
    }
    folder = out.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    for number, stage in enumerate(planned, 1):
        limit_s = min(stage.limit_s, deadline - time.monotonic())
        console.print(f"[{number}/{len(planned)}] {stage.name}, at most {max(0, limit_s):.0f} s")
        outcome = run_stage(stage, folder, limit_s)
        outcomes.append(outcome)
        content = {**about, "stages": [asdict(outcome) for outcome in outcomes]}
        out.write_text(json.dumps(content, indent=1), encoding="utf-8")
        reason = f": {outcome.why}" if outcome.why else ""
        console.print(f"{stage.name}: {outcome.state} after {outcome.seconds:.0f} s{reason}")
        if outcome.result is not None:
            rows = [measure.Row(**row) for row in outcome.result["rows"]]
            console.print(measure.table(outcome.result, rows))
    return outcomes


def main() -> None:
    """Check and print; the exit status is 1 if a stage failed or was stopped."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--stand-in", action="store_true", help="run all of it on a CPU, with small sizes")
    add("--image-folder", type=Path, metavar="DIR", help="of the study: a folder a class (made)")
    add("--only", nargs="+", metavar="STAGE", help="these stages alone")
    default = measure.RESULTS / "gpu_check.json"
    add("--out", type=Path, default=default, metavar="FILE", help="JSON (results/gpu_check.json)")
    args = parser.parse_args()
    if args.stand_in:
        os.environ[DEVICE_VARIABLE] = STAND_IN
    if gpu() is None:
        parser.error("torch sees no GPU. To fix: run it where there is one, or add --stand-in")
    planned = stages(args.image_folder and args.image_folder.resolve())
    names = [stage.name for stage in planned]
    wrong = set(args.only or ()) - set(names)
    if wrong:
        parser.error(f"--only is {', '.join(sorted(wrong))}; allowed: {', '.join(names)}")
    planned = tuple(stage for stage in planned if not args.only or stage.name in args.only)
    console = Console(width=160, highlight=False, markup=False)
    with tempfile.TemporaryDirectory() as cache:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache  # cold for the first stage, warm for others
        outcomes = check(planned, args.out.resolve(), TOTAL_S, console)
    console.print(f"Written to {args.out}. For the README: python -m benchmarks.fill_readme")
    sys.exit(any(outcome.state in ("failed", "stopped") for outcome in outcomes))


if __name__ == "__main__":
    main()
