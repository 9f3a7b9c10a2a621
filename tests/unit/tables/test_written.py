import csv
import dataclasses
from pathlib import Path

import pytest

from diffrop.data.held_out import load_split
from diffrop.tables.published import TABLES
from diffrop.tables.run import RowResult, check_rows_comparable
from diffrop.tables.written import (
    WrittenTable,
    csv_text,
    markdown,
    terminal_lines,
    write_table,
    written_table,
)
from tests.made.small import small_experiment
from tests.made.tables import card_of, plan_of, results_of


def made(number: int, directory: Path, value: float = 5.0) -> WrittenTable:
    plan = plan_of(number, directory)
    split = load_split(plan.data) if number == 3 else None
    return written_table(plan, results_of(plan, value=value), split)


@pytest.mark.parametrize("number", TABLES)
@pytest.mark.parametrize("value", [5.0, 987.654])
def test_terminal_table_fits_80_columns(number: int, value: float, tmp_path: Path) -> None:
    lines = terminal_lines(made(number, tmp_path, value))
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("number", TABLES)
def test_our_number_never_goes_without_its_protocol(number: int, tmp_path: Path) -> None:
    written = made(number, tmp_path)
    text = "\n".join(terminal_lines(written))
    said = ["ddim-2", "4 steps of 32", "ancestral-1000", "300,000 steps of 64", "digits"]
    said += [] if number == 3 else ["InceptionV3", "40"]
    for shown in (text, markdown(written)):
        above = shown[
            : min(shown.index(label) for label in ("FID, ", "accuracy, ") if label in shown)
        ]
        assert all(word in above for word in said)
        assert "not comparable unless their protocols are" in " ".join(above.split())
    for row in csv.DictReader(csv_text(written).splitlines()):
        for name in ("dataset", "imbalance_factor", "images_seen", "sampler", "omega"):
            assert row[f"ours_{name}"] and row[f"published_{name}"]


def test_values_stand_beside_those_of_the_named_data_sets(tmp_path: Path) -> None:
    lines = terminal_lines(made(5, tmp_path))
    head = next(line for line in lines if line.startswith("row"))
    assert head.split()[-2:] == ["CIFAR10LT", "CIFAR100LT"]
    row = next(line for line in lines if line.startswith("+ DiffROP (negative L2)"))
    assert row.split()[-7:] == ["0.5", "5.00", "4.00", "to", "6.00", "11.73", "12.43"]


def test_own_rows_of_unequal_protocols_are_refused() -> None:
    card = card_of(small_experiment())
    other = dataclasses.replace(card, sampler="ddim-9")
    with pytest.raises(ValueError, match="scores at different sampler"):
        check_rows_comparable([RowResult("ddpm", card), RowResult("cbdm", other)])
    longer = dataclasses.replace(card, images_seen=999)
    with pytest.raises(ValueError, match="images seen do not compare"):
        check_rows_comparable([RowResult("ddpm", card), RowResult("cbdm", longer)])


def test_failed_row_is_named_and_has_no_number(tmp_path: Path) -> None:
    plan = plan_of(4, tmp_path, ["ddpm", "diffrop"])
    results = [results_of(plan)[0], RowResult("diffrop", None, failure="the loss is NaN")]
    lines = terminal_lines(written_table(plan, results, None))
    assert "Row diffrop failed: the loss is NaN" in lines
    assert next(x for x in lines if x.startswith("DDPM + DiffROP")).split()[3:6] == ["-"] * 3
    with pytest.raises(ValueError, match=r"no row has a score \(diffrop: the loss is NaN\)"):
        written_table(plan, results[1:], None)


def test_files_hold_one_line_for_each_row_and_score(tmp_path: Path) -> None:
    written = made(1, tmp_path)
    text, rows = write_table(written)
    assert text.read_text().startswith("# Table 1, scores over all classes, on digits\n")
    with rows.open() as file:
        assert len(list(csv.DictReader(file))) == 7 * 5
