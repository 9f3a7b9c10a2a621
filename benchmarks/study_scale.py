"""Run a study of many trials that train nothing, to measure what the engine itself costs.

The engine is the real one: Tune's loop, Optuna on SQLite, MLflow, the observer, the results, the
trials' own code with its checkpoints and files. A stand-in replaces the training loop and the
sampling inside a trial. Times are those of the driver's process, with Tune's own share apart.
"""

import argparse
import functools
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from rich.console import Console
from rich.table import Table

import diffrop.engine.run as engine
import diffrop.engine.stages as stages
import diffrop.execution.trial as trial_module
import diffrop.training.session as session_module
from benchmarks.driver_watch import Progress, Stopwatch, left_behind, watched
from diffrop.config import ExperimentConfig
from diffrop.console.screens import QuietScreen
from diffrop.engine.prepare import check_launch, prepare
from diffrop.recipes import digits
from diffrop.record.score_card import CurvePoint, ScoreCard
from diffrop.scoring.samples import ScoringInputs
from diffrop.scoring.score import Scored
from diffrop.search.searcher import OptunaStudySearcher
from diffrop.shot_groups import GROUPS
from diffrop.study.config import LaunchConfig, StudyConfig
from diffrop.study.rung import Rung
from diffrop.study.sampling_choice import sampling_choices
from diffrop.study.space import SearchSpace
from diffrop.training.trainer import Trainer

REAL_RUN_POINT = stages._run_point


class StandInTrainer(Trainer):
    """A trainer whose clock moves without any training."""

    def train_until(
        self,
        images: int,
        log: Callable[[dict[str, float]], None] = lambda row: None,
        save: Callable[[], object] = lambda: None,
        check: Callable[[], object] = lambda: None,
        save_snapshot: Callable[[], object] = lambda: None,
    ) -> None:
        """Advance to `images` and log one row of curves."""
        self.images_seen = images
        log({"images_seen": images, "loss/ddpm": 1 / images, "grad_norm": 1.0})


def stand_in_score(
    number: int,
    averages: Any,
    schedule: Any,
    config: ExperimentConfig,
    inputs: ScoringInputs,
    rung: Rung,
    images_seen: int,
    *_: Any,
) -> Scored:
    """Return a score card of the usual size, whose value falls from trial to trial."""
    # The newest trial is the best, so none is stopped.
    value = 1e3 / (1 + number) + 1e5 / images_seen
    scores = {f"{name}/{group}": value for name in ("fid", "accuracy") for group in GROUPS}
    choices = sampling_choices(config, rung.num_steps)
    card = ScoreCard(
        images_seen=images_seen,
        time=time.time(),
        objectives=list(config.evaluation.objectives),
        values=[value],
        omega=choices[0].omega,
        sampler=choices[0].sampler,
        extractor=inputs.extractor.name,
        reference=inputs.reference.name,
        num_samples=dict.fromkeys(GROUPS, rung.num_samples),
        num_reference=dict.fromkeys(GROUPS, 100),
        final=rung.final,
        curve=[
            CurvePoint(
                omega=choice.omega,
                sampler=choice.sampler,
                num_samples=rung.num_samples,
                scores=scores,
            )
            for choice in choices
        ],
        intervals={},
        class_scores={},
        samples_drawn=rung.num_samples * len(choices),
        seconds={"sampling": 1.0, "features": 0.1, "metrics": 0.1},
    )
    dataset = inputs.dataset
    images = torch.zeros(10 * dataset.num_classes, *dataset.image_shape, dtype=torch.uint8)
    return Scored(card, images, {})


def stand_in_point(point: dict[str, Any], **others: Any) -> None:
    """Run the engine's own trainable, in the trial's process, with the stand-ins."""
    score = functools.partial(stand_in_score, point["number"])
    with (
        mock.patch.object(session_module, "Trainer", StandInTrainer),
        mock.patch.object(trial_module, "score_model", score),
    ):
        REAL_RUN_POINT(point, **others)


def study_config(name: str, num_trials: int, num_rungs: int) -> StudyConfig:
    """Return a study of digits with so many rungs and the smallest of networks."""
    batch = 64
    last = round(batch * 1.5 ** (num_rungs - 1))
    experiment = digits().experiment.with_values(
        {
            "model.base_channels": 8,
            "model.channel_multipliers": [1],
            "model.attention_resolutions": [],
            "training.num_images": last * batch,
            "training.keep_checkpoints": 1,
        }
    )
    space = SearchSpace.load(Path(__file__).parents[1] / "search_spaces" / "tau.yaml")
    return StudyConfig(
        name=name,
        space=space,
        experiment=experiment,
        num_trials=num_trials,
        first_rung_images=batch * batch,
        reduction_factor=1.5,
    )


def run(num_trials: int, num_rungs: int, root: Path, window: int) -> dict[str, Any]:
    """Run a study and return its costs."""
    config = study_config("scale", num_trials, num_rungs)
    launch = LaunchConfig(runs_root=str(root), max_concurrent=2)
    prepared = prepare(config, launch, check_launch(config, launch))
    stopwatch = Stopwatch()
    progress = Progress(stopwatch)
    complete = OptunaStudySearcher.on_trial_complete

    def noted(self: OptunaStudySearcher, *args: Any, **kwargs: Any) -> None:
        complete(self, *args, **kwargs)
        progress.note()

    before = left_behind()
    with (
        mock.patch.object(OptunaStudySearcher, "on_trial_complete", noted),
        watched(stopwatch),
        mock.patch.object(stages, "_run_point", stand_in_point),
    ):
        progress.note()
        start = time.perf_counter()
        finished = engine.run_study(
            config, launch, prepared, "study_scale", QuietScreen(), lambda path, standing: []
        )
        wall_s = time.perf_counter() - start
        progress.note()
    after = left_behind()
    states = [trial.state for trial in finished.result.trials]
    last = len(progress.rows) - 2
    window = min(window, num_trials // 2)

    def per_trial(first: int, end: int) -> float:
        return progress.seconds("trial:", first, end) / (end - first)

    reports = progress.count("reports", 0, last)
    return {
        "trials": num_trials,
        "reports": reports,
        "states": {state: states.count(state) for state in sorted(set(states))},
        "wall_s": wall_s,
        "trial_s": per_trial(0, last),
        "trial_s_first": per_trial(0, window),
        "trial_s_last": per_trial(last - window, last),
        "report_s": progress.seconds("report:", 0, last) / reports,
        "sampler_s": progress.seconds("sampler", 0, last) / num_trials,
        "sampler_s_last": progress.seconds("sampler", last - window, last) / window,
        "driver_processor_s": progress.count("processor", 0, last) / num_trials,
        "memory_growth_mib": progress.count("memory_mib", min(window, last), last),
        "growth": {
            what: progress.count(what, min(window, last), last)
            for what in ("descriptors", "threads", "processes")
        },
        "left_behind": {what: after[what] - before[what] for what in before},
        "window": window,
        "parts": {
            name: {
                "seconds": seconds,
                "processor_s": stopwatch.processor[name],
                "calls": stopwatch.calls[name],
            }
            for name, seconds in sorted(stopwatch.wall.items())
        },
        "untracked": finished.untracked,
    }


def table(found: dict[str, Any]) -> Table:
    """Return the measures beside their aims."""
    ratio = found["trial_s_last"] / found["trial_s_first"]
    rows = [
        ("driver, per trial", f"{found['trial_s']:.3f} s", "0.25 s"),
        ("driver, per report", f"{1e3 * found['report_s']:.1f} ms", "20 ms"),
        ("memory growth", f"{found['memory_growth_mib']:.0f} MiB", "200 MB"),
        *(
            (f"{what} of the driver, growth", f"{number:+g}", "0")
            for what, number in found["growth"].items()
        ),
        *(
            (f"{what}, left at the end", f"{number:+d}", "0")
            for what, number in found["left_behind"].items()
        ),
        (f"per trial, last {found['window']} over first", f"{ratio:.2f}", "2"),
        ("sampler, per trial", f"{found['sampler_s']:.3f} s", "counted apart"),
        (f"sampler, last {found['window']}", f"{found['sampler_s_last']:.3f} s", ""),
        (
            "driver's processor time with Tune, per trial",
            f"{found['driver_processor_s']:.3f} s",
            "",
        ),
    ]
    rows += [
        (
            f"  {name}, {part['calls']:,} calls",
            f"{part['seconds']:.1f} s",
            f"processor {part['processor_s']:.1f} s",
        )
        for name, part in found["parts"].items()
    ]
    title = (
        f"{found['trials']:,} trials, {found['reports']:,.0f} reports in {found['wall_s']:.0f} s"
    )
    shown = Table("what", "measured", "aim", title=title, box=None)
    for row in rows:
        shown.add_row(*row)
    return shown


def main() -> None:
    """Run the study, print the table and write the JSON file."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--trials", type=int, default=1_000)
    add("--rungs", type=int, default=10)
    add("--window", type=int, default=100, help="trials at either end that are compared")
    add("--runs-root", type=Path, help="an empty folder to keep; a temporary one by default")
    add("--json", type=Path, help="where to write the numbers")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = args.runs_root or Path(folder)
        found = run(args.trials, args.rungs, root, args.window)
    Console().print(table(found))
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
