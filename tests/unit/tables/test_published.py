import pytest

from diffrop.commands import tables
from diffrop.config import ExperimentConfig
from diffrop.console.configs import launch_config
from diffrop.presets import PRESETS
from diffrop.samplers import sampler_name
from diffrop.tables.published import PUBLISHED_SAMPLER, TABLES


@pytest.mark.parametrize(
    ("words", "sampler"),
    [
        ("--published-sampler", PUBLISHED_SAMPLER),
        ("--published-sampler --set sampling.clip=true", "ancestral-1000"),
        ("", "dpmpp-5"),
    ],
)
def test_table_is_drawn_with_the_published_sampler_where_that_is_asked_for(
    words: str, sampler: str
) -> None:
    args = tables.parser("").parse_args(["--table", "4", *words.split()])
    plan = tables.table_plan(args, launch_config(args, None), "made")

    def named(config: ExperimentConfig) -> str:
        return sampler_name(config.sampling, config.diffusion.num_timesteps)

    assert {named(config) for config in plan.configs.values()} == {sampler}


@pytest.mark.parametrize(
    ("table", "row", "dataset", "score", "value"),
    [
        (1, "ddpm", "CIFAR100LT", "fid/all", 7.38),
        (1, "ddpm", "CIFAR10LT", "f_8/all", 0.97),
        (1, "diffaug", "CIFAR100LT", "f_8/all", 0.88),
        (1, "rs", "CIFAR100LT", "recall/all", 0.49),
        (1, "sqrt-rs", "CIFAR100LT", "inception_score/all", 13.47),
        (1, "diffrop", "CIFAR10LT", "f_1_8/all", 0.97),
        (1, "cbdm", "CIFAR10LT", "inception_score/all", 9.28),
        (1, "cbdm-diffrop", "CIFAR100LT", "fid/all", 5.99),
        (2, "ddpm", "CIFAR10LT", "fid/few", 46.51),
        (2, "diffrop", "CIFAR100LT", "fid/medium", 27.50),
        (2, "cbdm", "CIFAR10LT", "fid/medium", 37.53),
        (2, "cbdm-diffrop", "CIFAR100LT", "fid/many", 21.52),
        (3, "balanced", "CIFAR100LT", "recall", 68.87),
        (3, "long-tailed", "CIFAR100LT", "precision", 42.12),
        (3, "cbdm-diffrop", "CIFAR100LT", "accuracy", 47.22),
        (4, "reweighting", "CIFAR10LT", "fid/all", 6.45),
        (5, "diffrop-negative-l2", "CIFAR100LT", "fid/all", 12.43),
        (5, "diffrop-reciprocal", "CIFAR10LT", "fid/all", 5.72),
    ],
)
def test_published_numbers_are_those_of_the_paper(
    table: int, row: str, dataset: str, score: str, value: float
) -> None:
    assert TABLES[table].rows[row].values[dataset][score] == value


def test_tables_print_as_many_numbers_as_the_paper() -> None:
    counts = {
        number: sum(len(v) for row in table.rows.values() for v in row.values.values())
        for number, table in TABLES.items()
    }
    assert counts == {1: 55, 2: 24, 3: 18, 4: 3, 5: 8}


def test_every_row_has_a_preset_or_no_model() -> None:
    rows = [row for table in TABLES.values() for row in table.rows.values()]
    assert {row.preset for row in rows if row.preset is not None} <= set(PRESETS)
    assert [row.label for row in rows if row.preset is None] == ["balanced", "long-tailed"]


def test_a_published_data_set_has_its_own_rows_and_column_alone() -> None:
    table = TABLES[1]
    assert table.rows_of("cifar10") == ("ddpm", "diffrop", "cbdm", "cbdm-diffrop")
    assert table.rows_of("digits") == table.rows_of("cifar100") == tuple(table.rows)
    assert table.columns("cifar10") == ("CIFAR10LT",)
    assert table.columns("digits") == ("CIFAR10LT", "CIFAR100LT")
    assert TABLES[3].columns("cifar10") == ("CIFAR100LT",)
