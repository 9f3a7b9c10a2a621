import importlib.util
from pathlib import Path

import pytest

from diffrop.console.commands import StudyCommand
from diffrop.console.configs import study_config
from diffrop.console.options import study_parser
from diffrop.study.config import StudyConfig
from tests.made.small import ROOT, SPACE

COMMANDS = sorted(
    path for path in (ROOT / "studies").glob("run_*.py") if "StudyCommand(" in path.read_text()
)


def load(path: Path) -> tuple[StudyCommand, StudyConfig]:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    command: StudyCommand = module.COMMAND
    args = study_parser(command.description, command.settings).parse_args([])
    return command, study_config(args, command.script, command.space, command.settings)


@pytest.mark.parametrize("path", COMMANDS, ids=lambda path: path.stem)
def test_study_without_options_is_small_and_its_points_lie_in_its_space(path: Path) -> None:
    command, study = load(path)
    assert command.script == path.stem
    assert len(path.read_text().splitlines()) < 100
    for point in study.points:
        assert study.space.checked_point(point) == point
        study.experiment.with_values(point)
    assert len({str(point) for point in study.points}) == len(study.points)
    assert len(study.points) < study.num_trials
    trained = study.num_trials * study.rungs[0].images
    assert trained <= 110_000  # five minutes on two cores, with half as much for the rest


def test_ablations_try_every_choice_once_to_the_end() -> None:
    for name, key, count in (
        ("run_loss_ablation", "contrastive.form", 4),
        ("run_tau_schedule_ablation", "contrastive.tau_schedule", 4),
    ):
        _, study = load(ROOT / "studies" / f"{name}.py")
        (parameter,) = [p for p in study.space.parameters if p.name == key]
        tried = [point[key] for point in study.points]
        assert sorted(tried) == sorted(parameter.choices or ()) and len(tried) == count
        assert len(study.rungs) == 1
        assert study.num_trials == 1 + count


def test_margin_sweep_is_of_the_hinge_in_every_space() -> None:
    _, study = load(ROOT / "studies" / "run_margin_sweep.py")
    assert study.experiment.contrastive.form == "hinge"
    assert {point["contrastive.space"] for point in study.points} == {"mu", "x0", "eps"}


def test_pareto_study_has_two_objectives() -> None:
    _, study = load(ROOT / "studies" / "run_pareto.py")
    assert study.experiment.evaluation.objectives == ("fid/all", "fid/few")


def test_options_of_the_search_reach_the_study() -> None:
    args = study_parser("").parse_args(["--reduction-factor", "4"])
    assert study_config(args, "x", SPACE).reduction_factor == 4
