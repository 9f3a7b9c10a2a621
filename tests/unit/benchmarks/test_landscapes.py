import itertools
import json
from pathlib import Path

import pytest

from benchmarks.landscape_table import append_line, read_lines, to_frame, trial_of
from benchmarks.landscapes import LANDSCAPES, SEEDS, Landscape, point_key, sobol_points, value_at
from benchmarks.make_landscapes import main, missing_of_design, propose, ruined_points
from diffrop.samplers import sampler_name
from diffrop.study.space import Parameter
from diffrop.training.identity import canonical
from tests.made.landscape import made_landscape, made_lines


@pytest.mark.parametrize("landscape", LANDSCAPES.values(), ids=lambda one: one.name)
def test_every_point_of_a_landscape_is_a_configuration_of_its_space(landscape: Landscape) -> None:
    for values in itertools.islice(landscape.points(), 64):
        assert landscape.search_space.checked_point(values) == values
        landscape.baseline.with_values(values)
    assert landscape.baseline.contrastive.form == "none"
    assert max(landscape.rungs) == landscape.baseline.training.num_images
    assert sampler_name(landscape.baseline.sampling, 1000) == "ddim-8"  # as the tables were drawn


def test_the_sequence_is_even_on_each_scale_and_over_choices() -> None:
    space = made_landscape().search_space
    points = list(itertools.islice(sobol_points(space, 0), 64))
    assert points == list(itertools.islice(sobol_points(space, 0), 64))
    strengths = sorted(values["contrastive.tau_0"] for values in points)
    assert strengths[31] < 10**0.5 < strengths[32] * 1.01  # the middle of 0.1 to 100
    forms = [values["contrastive.form"] for values in points]
    assert {forms.count(form) for form in set(forms)} == {16}
    hinges = [values for values in points if "contrastive.margin" in values]
    assert {values["contrastive.form"] for values in hinges} == {"hinge"}


@pytest.mark.parametrize(
    ("fields", "ends"),
    [
        ({"low": 1.0, "high": 100.0, "log": True}, (1.0, 99.77)),
        ({"low": 2.0, "high": 4.0, "integer": True}, (2, 4)),
        ({"choices": ("a", "b")}, ("a", "b")),
    ],
)
def test_a_share_of_a_range_is_a_value(fields: dict, ends: tuple) -> None:
    parameter = Parameter(name="contrastive.tau_0", source="", **fields)
    assert (value_at(parameter, 0.0), value_at(parameter, 0.9995)) == ends


def test_the_paired_baseline_has_the_draws_of_a_point_and_no_loss() -> None:
    landscape = LANDSCAPES["digits_ablation"]
    values = {
        "contrastive.form": "reciprocal",
        "contrastive.tau_0": 3.0,
        "diffusion.noise": "shared",
        "diffusion.group_size": 8,  # the baseline's own
    }
    paired = landscape.paired_baseline(values)
    assert paired == {"diffusion.noise": "shared"}
    assert landscape.paired_baseline(paired) == paired
    one, other = (canonical(landscape.baseline.with_values(v)) for v in (values, paired))
    differing = {key for key in one if one[key] != other.get(key, one[key])}
    assert {key.partition(".")[0] for key in differing} <= {"contrastive"}


def test_a_design_has_replicates_of_points_and_of_the_baselines_at_their_draws() -> None:
    for landscape in LANDSCAPES.values():
        seeds: dict[str, set[int]] = {}
        for trial in landscape.design():
            seeds.setdefault(trial.key[0], set()).add(trial.seed)
        assert seeds[point_key({})] == set(SEEDS)
        points = [
            point_key(v) for v in itertools.islice(landscape.points(), landscape.num_initial)
        ]
        assert set(points) <= set(seeds)
        whole = [point for point in points if len(seeds[point]) == len(SEEDS)]
        assert len(whole) == landscape.num_initial // 4
        for point in whole:
            paired = point_key(landscape.paired_baseline(json.loads(point)))
            assert seeds[paired] == set(SEEDS)


def test_a_trial_that_was_cut_off_is_trained_again(tmp_path: Path) -> None:
    table = tmp_path / "made.jsonl"
    lines = made_lines(made_landscape(), num_points=1)
    for content in lines[:2]:
        append_line(table, content)
    with table.open("a") as file:
        file.write(json.dumps(lines[2])[:100])
    assert [trial_of(one).key for one in read_lines(table)] == [
        trial_of(one).key for one in lines[:2]
    ]
    append_line(table, lines[2])
    append_line(table, lines[2])  # by a second run: it is one training
    assert read_lines(table) == json.loads(json.dumps(lines[:3]))


def test_the_design_goes_on_with_the_first_missing_trial() -> None:
    landscape = made_landscape()
    first, second = itertools.islice(landscape.design(), 2)
    assert missing_of_design(landscape, []) == first
    lines = made_lines(landscape, num_points=0)
    assert missing_of_design(landscape, lines[:1]) == second
    done = missing_of_design(landscape, lines)
    assert done is not None and point_key(done.values) != point_key({})


def test_points_that_are_ruined_have_no_further_seeds() -> None:
    landscape = made_landscape()
    lines = made_lines(landscape, num_points=3)
    assert ruined_points(landscape, lines) == set()
    bad = json.loads(json.dumps(lines[-1]))
    for drawn in bad["rungs"][-1]["draws"]:
        drawn["scores"] = {"500": [1e4, 0, 0, 0, 0]}
    assert ruined_points(landscape, [*lines[:3], bad]) == {trial_of(bad).key[0]}
    failed = {**bad, "failed": True, "rungs": []}
    assert ruined_points(landscape, [*lines[:3], failed]) == {trial_of(failed).key[0]}


def test_proposals_lie_apart_from_each_other_and_from_what_is_trained() -> None:
    landscape = made_landscape()
    lines = made_lines(landscape, num_points=6, own=0.01, shared=0.05, sampling=0.3)
    proposed = propose(landscape, lines, 4)
    keys = {trial.key for trial in proposed}
    assert len(keys) == 4 and not keys & {trial_of(one).key for one in lines}
    for trial in proposed:
        assert landscape.search_space.checked_point(trial.values) == trial.values


def test_each_landscape_without_a_model_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A landscape that is too small for proposals does not keep them from the next one."""
    monkeypatch.setattr(
        "sys.argv", ["make_landscapes", "--propose", "1", "--tables", str(tmp_path)]
    )
    main()
    found = [line.partition(":")[0] for line in capsys.readouterr().out.splitlines()]
    free = [name for name, landscape in LANDSCAPES.items() if not landscape.reserved]
    assert found == [f"no proposals for {name}" for name in free]
    assert len(free) < len(LANDSCAPES)


def test_the_frame_has_a_row_for_each_score() -> None:
    lines = made_lines(made_landscape(), num_points=1)
    frame = to_frame(lines)
    assert len(frame) == 6 * 4 * (4 + 4 + 5)
    assert frame["sampling_s"].notna().sum() == 6 * 4 * 3
    last = frame[(frame["images"] == 20_480) & frame["sampling_s"].notna()]
    assert set(last["num_samples"]) == {500}
