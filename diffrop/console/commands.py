"""The command that the studies share: check, run, print."""

import contextlib
import json
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from diffrop.console.dry_run import comparison_table, print_plan
from diffrop.console.results import conclusions, protocol, remarks, results_table, scale
from diffrop.console.screens import View, open_screen
from diffrop.console.study_options import launch_config, study_config, study_parser
from diffrop.engine.prepare import check_study, prepare
from diffrop.engine.run import FinishedStudy, run_study
from diffrop.errors import errors_to_exit as errors_to_exit
from diffrop.record.cost import CostRecord
from diffrop.record.json_files import read_record
from diffrop.record.study_folder import StudyFolder
from diffrop.redaction import redact
from diffrop.tracking import ui_command

RESUME_HINT = "carry on with the same command, --study-name {name} and --resume"


@dataclass(frozen=True)
class StudyCommand:
    """A study as a command: what a file in studies/ has to say."""

    script: str
    description: str
    space: Path
    render: Callable[[Path], list[Path]]
    """Draws figures and report from the study's folder; returns the files."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What it changes of the dataset's recipe; see `study_config`."""

    def main(self, argv: list[str], environment: dict[str, str]) -> int:
        """Parse, check, run, and print the results; return the exit code."""
        args = study_parser(self.description).parse_args(argv)
        view: View = "json" if args.json else "quiet" if args.quiet else "lines"
        console = Console(highlight=False, stderr=args.json)
        with errors_to_exit():
            launch = launch_config(args, environment.get("MLFLOW_TRACKING_URI"))
            on_gpu = launch.gpus_per_worker > 0
            config = study_config(args, self.script, self.space, on_gpu, self.settings)
            if args.dry_run:
                store, dataset = check_study(config, launch)
                print_plan(config, launch, dataset, store.path, console)
                return 0
            words = [redact(word) if "://" in word else word for word in argv]
            command = shlex.join(["python", f"studies/{self.script}.py", *words])
            with contextlib.closing(open_screen(view, console)) as screen:
                screen.say(f"Study {config.name}: {config.num_trials} trials; preparing.")
                prepared = prepare(config, launch)
                for note in prepared.warm_start.notes:
                    screen.say(note)
                finished = run_study(config, launch, prepared, command, screen, self.render)
        if args.json:
            print(json.dumps(results_event(finished)))
        else:
            print_results(finished, console)
        return 130 if finished.interrupted else 0


def results_event(finished: FinishedStudy) -> dict[str, Any]:
    """Return a study's results as the last line of --json."""
    rows = json.loads(finished.result.frame.to_json(orient="records"))
    return {
        "event": "results",
        "study": finished.result.config.name,
        "directory": str(finished.directory),
        "interrupted": finished.interrupted,
        "trials": rows,
    }


def print_results(finished: FinishedStudy, console: Console) -> None:
    """Print the ranked table, what it cannot say, and where everything lies."""
    result = finished.result
    console.print(f"\n{protocol(result)}", soft_wrap=False)
    console.print(results_table(result))
    said = (
        *scale(result, finished.reference_scores),
        *remarks(result),
        *conclusions(StudyFolder(finished.directory)),
        *finished.untracked,
    )
    for remark in said:
        console.print(remark, soft_wrap=False)
    cost = read_record(StudyFolder(finished.directory).cost, CostRecord)
    if cost is not None and cost.plan and cost.actual:
        console.print()
        console.print(comparison_table(cost.plan, cost.actual))
    if finished.refusal:
        console.print(f"Ended early: {finished.refusal}.")
    if finished.interrupted:
        console.print(f"Interrupted: {RESUME_HINT.format(name=result.config.name)}.")
    shown = relative(finished.directory)
    console.print(f"\nreport   {shown}/report.html", soft_wrap=True)
    console.print(f"figures  {shown}/figures/", soft_wrap=True)
    if result.ranked:
        final = f"python studies/train_final.py --config {shown}/best.yaml"
        console.print(f"train    {final}", soft_wrap=True)
    console.print(f"MLflow   {ui_command(finished.tracking_uri)}", soft_wrap=True)


def relative(path: Path) -> Path:
    """Return a path as short as it can be typed from here."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
