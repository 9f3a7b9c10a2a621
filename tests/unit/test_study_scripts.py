import pytest

from diffrop.console.commands import StudyCommand
from diffrop.console.configs import study_config
from diffrop.console.options import study_parser
from diffrop.main import command_modules, load_command
from diffrop.study.config import StudyConfig
from tests.made.commands import SCRIPTS, command_name
from tests.made.small import ROOT, SPACE

STUDIES = tuple(
    name for name in command_modules() if hasattr(load_command(name), "COMMAND")
)  # all but that of omega, which trains nothing


def load(name: str) -> tuple[StudyCommand, StudyConfig]:
    command: StudyCommand = load_command(name).COMMAND  # type: ignore[attr-defined]
    args = command.parser(f"diffrop {name}").parse_args([])
    return command, study_config(args, command.name, command.space, command.settings)


@pytest.mark.parametrize("name", STUDIES)
def test_study_without_options_is_small_and_its_points_lie_in_its_space(name: str) -> None:
    command, study = load(name)
    assert name == f"study {command.name}"
    for point in study.points:
        assert study.space.checked_point(point) == point
        study.experiment.with_values(point)
    assert len({str(point) for point in study.points}) == len(study.points)
    assert len(study.points) < study.num_trials
    trained = study.num_trials * study.rungs[0].images
    assert trained <= 110_000  # five minutes on two cores, with half as much for the rest


def test_scripts_are_the_commands_in_a_few_lines() -> None:
    assert len(STUDIES) == 6
    names = [command_name(script) for script in SCRIPTS]
    assert len(set(names)) == len(names)
    assert set(names) <= set(command_modules())
    assert {name for name in command_modules() if name.startswith("study ")} <= set(names)
    for script in SCRIPTS:
        assert len((ROOT / "studies" / f"{script}.py").read_text().splitlines()) < 10


def test_ablations_try_every_choice_once_to_the_end() -> None:
    for name, key, count in (
        ("study loss", "contrastive.form", 4),
        ("study schedule", "contrastive.tau_schedule", 4),
    ):
        _, study = load(name)
        (parameter,) = [p for p in study.space.parameters if p.name == key]
        tried = [point[key] for point in study.points]
        assert sorted(tried) == sorted(parameter.choices or ()) and len(tried) == count
        assert len(study.rungs) == 1
        assert study.num_trials == 1 + count


def test_margin_sweep_is_of_the_hinge_in_every_space() -> None:
    _, study = load("study margin")
    assert study.experiment.contrastive.form == "hinge"
    assert {point["contrastive.space"] for point in study.points} == {"mu", "x0", "eps"}


def test_pareto_study_has_two_objectives() -> None:
    _, study = load("study pareto")
    assert study.experiment.evaluation.objectives == ("fid/all", "fid/few")


def test_options_of_the_search_reach_the_study() -> None:
    args = study_parser("").parse_args(["--reduction-factor", "4"])
    assert study_config(args, "x", SPACE).reduction_factor == 4
