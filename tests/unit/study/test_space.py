import warnings
from pathlib import Path

import optuna
import pytest
import yaml
from optuna.distributions import IntDistribution

from diffrop.config import ExperimentConfig
from diffrop.presets import apply_preset
from diffrop.recipes import recipe
from diffrop.study.space import Parameter, SearchSpace, load_points
from tests.made.faults import fault
from tests.made.small import SPACE, small_study

TAU = {"low": 0.1, "high": 10, "log": True, "source": "x"}


def space(tmp_path: Path, parameters: object) -> SearchSpace:
    path = tmp_path / "space.yaml"
    path.write_text(yaml.safe_dump({"parameters": parameters}))
    loaded = SearchSpace.load(path)
    list(loaded.corners(ExperimentConfig()))
    return loaded


def test_margin_is_drawn_for_the_hinge_only_and_all_values_lie_in_range() -> None:
    loaded = SearchSpace.load(SPACE)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    forms = set()
    for _ in range(60):
        trial = study.ask()
        values = loaded.suggest(trial)
        forms.add(values["contrastive.form"])
        assert ("contrastive.margin" in values) == (values["contrastive.form"] == "hinge")
        assert 0.1 <= values["contrastive.tau_0"] <= 100
        assert 0.05 <= values["contrastive.decay_temperature"] <= 1
        ExperimentConfig().with_values(values)
        study.tell(trial, 0.0)
    assert forms == {"negative_l2", "hinge", "reciprocal", "exponential"}


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"contrastive.tau_0": TAU | {"low": 10}}, "low 10, high 10.*low < high"),
        ({"contrastive.tau_0": TAU | {"low": 0}}, "low > 0 with log"),
        (
            {"contrastive.tau_0": TAU | {"lowest": 1}},
            r"unknown configuration key 'parameters\[0\].lowest'",
        ),
        ({"contrastive.tau_0": {"low": 0.1, "source": "x"}}, "has no range"),
        ({"contrastive.tau_0": TAU | {"choices": [1]}}, "one or the other"),
        ({"contrastive.tau_0": {"low": 0.1, "high": 1}}, "has no source"),
        ({"contrastive.tau_1": TAU}, "unknown configuration key 'contrastive.tau_1'"),
        ({"training.learning_rate": TAU | {"low": -1, "log": False}}, "learning_rate is -1"),
        ({"contrastive.form": {"choices": ["hinge", "hingy"], "source": "x"}}, "'hingy'"),
        ({"contrastive.form": {"choices": ["none", "hinge"], "source": "x"}}, "trial 0"),
        ({"contrastive.tau_0": TAU | {"when": {"contrastive.form": ["hinge"]}}}, "listed before"),
        ({"contrastive.tau_0": TAU | {"prior": 3}}, "'prior alone'; allowed: prior: VALUE with"),
        ({"contrastive.tau_0": TAU | {"confidence": "low"}}, "'confidence alone'"),
        (
            {"contrastive.tau_0": TAU | {"prior": 11, "confidence": "low"}},
            "prior of contrastive.tau_0 is 11; allowed: 0.1 to 10",
        ),
        (
            {"contrastive.tau_0": TAU | {"prior": 3, "confidence": "sure"}},
            "confidence is 'sure'; allowed: low, medium, high",
        ),
        (
            {
                "contrastive.form": {
                    "choices": ["hinge"],
                    "prior": "reciprocal",
                    "confidence": "low",
                    "source": "x",
                }
            },
            "prior of contrastive.form is 'reciprocal'; allowed: hinge",
        ),
        ({"contrastive.tau_0": TAU | {"when": 5}}, "when is 5; allowed: a mapping"),
        ({"contrastive.tau_0": TAU | {"when": {"contrastive.form": 5}}}, "a list of choices"),
        ({"contrastive.tau_0": TAU | {"when": {"contrastive.form": []}}}, "a list of choices"),
        ({"contrastive.tau_0": {"choices": [1, "1e0"], "source": "x"}}, "distinct values"),
        ({"contrastive.tau_0": {"choices": [1, {}], "source": "x"}}, r"tau_0 is \{\}; .*a number"),
        ({"contrastive.tau_0": {"choices": ["x"], "source": "x"}}, "tau_0 is 'x'; .*a number"),
        ({"contrastive": {"choices": [{}], "source": "x"}}, "nearest: contrastive.form"),
        ({"model.num_res_blocks": {"low": 1.5, "high": 3, "source": "x"}}, "whole numbers"),
        ({"contrastive.tau_0": TAU | {"integer": True, "low": 1, "high": 1e300}}, "whole numbers"),
        ({5: TAU}, "name is 5; allowed: a text"),
        ({}, "at least one"),
        ([1], "no mapping"),
    ],
)
def test_bad_space_is_refused(tmp_path: Path, parameters: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        space(tmp_path, parameters)


def test_missing_and_broken_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"cannot read .*none\.yaml"):
        SearchSpace.load(tmp_path / "none.yaml")
    broken = tmp_path / "broken.yaml"
    broken.write_text("parameters: {a: [}")
    with pytest.raises(ValueError, match=r"broken\.yaml is not valid YAML"):
        SearchSpace.load(broken)


def test_choices_and_points_take_the_type_of_their_key(tmp_path: Path) -> None:
    (tmp_path / "space.yaml").write_text(
        "parameters:\r\n"
        "  contrastive.tau_0: {choices: [1e-1, 1e0, 5], source: ours}\r\n"
        "  training.seed: {choices: [1e3, 2e3], source: ours}\r\n"
        "  training.learning_rate: {low: 1e-5, high: 1e-3, log: true, source: ours,"
        " when: {contrastive.tau_0: [1e-1]}}\r\n",
        encoding="utf-8-sig",
        newline="",
    )
    loaded = SearchSpace.load(tmp_path / "space.yaml")
    tau, seed, rate = loaded.parameters
    assert tau.choices == (0.1, 1.0, 5.0) and seed.choices == (1000, 2000)
    assert all(type(choice) is float for choice in tau.choices)
    assert all(type(choice) is int for choice in seed.choices)
    assert (rate.low, rate.high, rate.when) == (1e-5, 1e-3, {"contrastive.tau_0": [0.1]})
    assert SearchSpace.from_dict(loaded.to_dict()) == loaded
    (tmp_path / "points.yaml").write_text("- {contrastive.tau_0: 1e-1, training.seed: 1e3}\n")
    (point,) = load_points(tmp_path / "points.yaml", loaded)
    assert point == {"contrastive.tau_0": 0.1, "training.seed": 1000}
    (corner, *_) = loaded.corners(ExperimentConfig())
    assert corner.contrastive.tau_0 == 0.1


@fault(46, "a space with a doubled key")
def test_key_that_stands_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    line = "  contrastive.tau_0: {low: 1, high: 2, source: x}\n"
    path.write_text(f"parameters:\n{line}{line}")
    with pytest.raises(ValueError, match=r"'contrastive.tau_0' stands twice.*line 3"):
        SearchSpace.load(path)
    twice = Parameter(name="contrastive.tau_0", source="x", low=1, high=2)
    with pytest.raises(ValueError, match=r"'contrastive\.tau_0'; allowed: each key once"):
        SearchSpace(parameters=(twice, twice))


def test_lists_are_searched_stored_and_made_conditions(tmp_path: Path) -> None:
    levels, key = {"choices": [[1], [1, 2]], "source": "x"}, "model.channel_multipliers"
    rate = {"low": 1e-4, "high": 1e-3, "source": "x", "when": {key: [[1]]}}
    loaded = space(tmp_path, {key: levels, "training.learning_rate": rate})
    url = f"sqlite:///{tmp_path}/study.db"
    sampler = optuna.samplers.TPESampler(seed=0, n_startup_trials=3)
    study = optuna.create_study(storage=url, study_name="s", sampler=sampler)
    for _ in range(8):
        trial = study.ask()
        values = loaded.suggest(trial)
        small = ExperimentConfig().with_values(values).model.channel_multipliers == (1,)
        assert ("training.learning_rate" in values) == small
        study.tell(trial, float(small))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Optuna's, of choices that it cannot store
        stored = optuna.load_study(storage=url, study_name="s").trials
    assert len({t.params[key] for t in stored}) == 2  # figures count them in sets
    assert loaded.checked_point({key: [1, 2]}) == {key: "[1, 2]"}
    with pytest.raises(ValueError, match=r"is \[3\]; allowed: \[1\], \[1, 2\]"):
        loaded.checked_point({key: [3]})


def test_whole_key_is_drawn_in_whole_numbers_unasked(tmp_path: Path) -> None:
    loaded = space(tmp_path, {"model.num_res_blocks": {"low": 1, "high": 3, "source": "x"}})
    assert isinstance(loaded.parameters[0].distribution(), IntDistribution)
    assert loaded.checked_point({"model.num_res_blocks": 2.0}) == {"model.num_res_blocks": 2}
    with pytest.raises(ValueError, match=r"num_res_blocks is 2.5; allowed: a whole number, 1 to"):
        loaded.checked_point({"model.num_res_blocks": 2.5})


def test_integer_parameters_are_integers(tmp_path: Path) -> None:
    steps = {"low": 2, "high": 4, "integer": True, "source": "x"}
    loaded = space(tmp_path, {"model.num_res_blocks": steps})
    trial = optuna.create_study().ask()
    assert loaded.suggest(trial)["model.num_res_blocks"] in (2, 3, 4)


@pytest.mark.parametrize("preset", ["diffrop", "cbdm"])
def test_ablation_draws_valid_configurations_on_every_method(preset: str) -> None:
    loaded = SearchSpace.load(SPACE.with_name("ablation.yaml"))
    experiment = apply_preset(preset, recipe("digits").experiment)
    list(loaded.corners(experiment))
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    drawn = [loaded.suggest(study.ask()) for _ in range(60)]
    for values in drawn:
        experiment.with_values(values)
    for key in ("contrastive.space", "diffusion.noise", "contrastive.stop_gradient"):
        assert len({values[key] for values in drawn}) == 2
    assert {values["diffusion.group_size"] for values in drawn} == {4, 8, 16}


@pytest.mark.parametrize("key", ["sampling.num_steps", "evaluation.seed", "data.reference"])
def test_keys_of_scoring_cannot_be_searched(tmp_path: Path, key: str) -> None:
    with pytest.raises(ValueError, match=f"{key}.*allowed: keys of the training"):
        space(tmp_path, {key: {"choices": [1, 2], "source": "x"}})


def test_points_are_read_and_may_leave_values_to_the_sampler(tmp_path: Path) -> None:
    path = tmp_path / "points.yaml"
    path.write_text("- {contrastive.form: hinge, contrastive.margin: 1.01}\n- {}\n")
    points = load_points(path, SearchSpace.load(SPACE))
    assert points == ({"contrastive.form": "hinge", "contrastive.margin": 1.01}, {})


@pytest.mark.parametrize(
    ("point", "message"),
    [
        ({"contrastive.tau_1": 1}, r"point 1 of .*'contrastive\.tau_1'; allowed: contrastive"),
        ({"contrastive.tau_0": 1000}, r"contrastive\.tau_0 is 1000; allowed: 0\.1 to 100"),
        ({"contrastive.tau_0": True}, r"contrastive\.tau_0 is True"),
        ({"contrastive.form": "none"}, "contrastive.form is 'none'; allowed: negative_l2, hinge"),
        ({"contrastive.margin": 1.0}, r"with contrastive\.margin is None; allowed: hinge"),
        (
            {"contrastive.form": "reciprocal", "contrastive.margin": 1.0},
            r"contrastive\.form of a point with contrastive\.margin is 'reciprocal'; allowed: hin",
        ),
    ],
)
def test_points_outside_the_space_are_refused(
    tmp_path: Path, point: dict[str, object], message: str
) -> None:
    path = tmp_path / "points.yaml"
    path.write_text(yaml.safe_dump([point]))
    with pytest.raises(ValueError, match=message):
        load_points(path, SearchSpace.load(SPACE))


def test_file_without_a_list_holds_no_points(tmp_path: Path) -> None:
    path = tmp_path / "points.yaml"
    path.write_text("contrastive.tau_0: 1")
    with pytest.raises(ValueError, match="holds no points; allowed: a list of mappings"):
        load_points(path, SearchSpace.load(SPACE))


def test_study_checks_its_points() -> None:
    with pytest.raises(ValueError, match=r"contrastive\.tau_0 is 0"):
        small_study(points=({"contrastive.tau_0": 0},))
    with pytest.raises(ValueError, match="points is '3 points'; allowed: 2 with num_trials"):
        small_study(num_trials=3, points=({}, {}, {}))
