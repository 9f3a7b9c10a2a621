from pathlib import Path

import pytest
import yaml

from diffrop.errors import StudyError
from diffrop.tables.plan import ROW_FILE, TablePlan, check_folder, cost_lines, row_cost
from diffrop.tables.published import TABLES
from tests.made.small import small_experiment
from tests.made.tables import plan_of


def store(plan: TablePlan, row: str) -> None:
    path = plan.row_directory(row) / ROW_FILE
    path.parent.mkdir(parents=True)
    path.write_text(yaml.safe_dump(plan.settings(row)))


@pytest.mark.parametrize("number", TABLES)
def test_every_table_has_a_configuration_for_each_model(number: int, tmp_path: Path) -> None:
    plan = plan_of(number, tmp_path)
    assert plan.rows == tuple(TABLES[number].rows)
    configs = list(plan.configs.values())
    assert all(a != b for i, a in enumerate(configs) for b in configs[:i])
    assert all(config.training == configs[0].training for config in configs)


@pytest.mark.parametrize("rows", [["ddpm", "gan"], ["ddpm", "ddpm"], []])
def test_unknown_and_doubled_rows_are_refused(rows: list[str], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="allowed: each once, of ddpm, diffrop, reweighting"):
        plan_of(4, tmp_path, rows)


@pytest.mark.parametrize(
    ("rows", "key", "value"),
    [
        (["ddpm"], "objective__loss", "cbdm"),
        (["diffrop"], "contrastive__form", "hinge"),
        (["diffaug"], "augmentation__diffaug", ["cutout"]),
        (["rs"], "data__class_sampling", "sqrt"),
    ],
)
def test_options_that_make_another_method_of_a_row_are_refused(
    rows: list[str], key: str, value: object, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="which makes the row what it is"):
        plan_of(1, tmp_path, rows, **{key: value})


def test_tau_is_part_of_the_budget_not_of_the_method(tmp_path: Path) -> None:
    plan = plan_of(4, tmp_path, contrastive__tau_0=3.0)
    assert plan.configs["diffrop"].contrastive.tau_0 == 3.0


def test_a_set_with_its_own_counts_has_no_balanced_row(tmp_path: Path) -> None:
    plan = plan_of(3, tmp_path, data__imbalance_factor=None)
    assert plan.rows[0] == "long-tailed"


def test_resuming_with_another_budget_is_refused_with_the_differences(tmp_path: Path) -> None:
    before = plan_of(4, tmp_path / "t")
    store(before, "ddpm")
    check_folder(before, resume=True)
    changed = plan_of(4, tmp_path / "t", evaluation__num_samples=50)
    with pytest.raises(StudyError, match=r"'ddpm'.*evaluation\.num_samples 40 -> 50; resume"):
        check_folder(changed, resume=True)
    with pytest.raises(StudyError, match="table 4 -> 5"):
        check_folder(plan_of(5, tmp_path / "t"), resume=True)


def test_row_of_a_version_that_knew_fewer_settings_is_gone_on_with(tmp_path: Path) -> None:
    plan = plan_of(4, tmp_path / "t")
    store(plan, "ddpm")
    path = plan.row_directory("ddpm") / ROW_FILE
    settings = plan.settings("ddpm")
    del settings["config"]["sampling"]["clip"]
    path.write_text(yaml.safe_dump(settings))
    check_folder(plan, resume=True)
    unclipped = plan_of(4, tmp_path / "t", sampling__clip=False)
    with pytest.raises(StudyError, match=r"sampling\.clip True -> False"):
        check_folder(unclipped, resume=True)


def test_a_row_of_unknown_configuration_is_refused(tmp_path: Path) -> None:
    plan = plan_of(4, tmp_path / "t")
    (plan.row_directory("diffrop") / "scores").mkdir(parents=True)
    with pytest.raises(StudyError, match=r"row.yaml is missing; remove .*diffrop, or name"):
        check_folder(plan, resume=True)


def test_a_table_that_exists_is_never_begun_again(tmp_path: Path) -> None:
    plan = plan_of(4, tmp_path / "t")
    with pytest.raises(StudyError, match="does not exist"):
        check_folder(plan, resume=True)
    plan.directory.mkdir()
    with pytest.raises(StudyError, match="exists; carry it on with --resume"):
        check_folder(plan, resume=False)


def test_cost_counts_whole_batches_and_both_branches_of_guidance(tmp_path: Path) -> None:
    start = small_experiment(training__num_images=100)  # four batches of 32
    cost = row_cost(plan_of(4, tmp_path, start=start), "ddpm")
    assert (cost.trained, cost.sampled, cost.classified) == (128, 80, 0)
    assert cost.evaluations == 2 * 40 * (1 + 2)  # omega 0 and 1, two steps
    partly = start.with_values({"sampling.guidance_interval": [0.5, 1]})
    partly_guided = row_cost(plan_of(4, tmp_path, start=partly), "ddpm")
    assert partly_guided.evaluations == 40 * (2 + 3)  # guided at the first of two steps
    plan = plan_of(3, tmp_path, start=start)
    assert row_cost(plan, "balanced").trained == 0
    assert row_cost(plan, "ddpm").sampled == 80 + 20
    lines = cost_lines(plan, done=["ddpm"])
    assert "ddpm                 done, costs nothing" in lines
    assert max(map(len, lines)) <= 80
