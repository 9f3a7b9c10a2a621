import json
import math
from collections.abc import Iterable
from pathlib import Path

import pytest

from diffrop.record.codec import decode, encode
from diffrop.record.trainings import TAIL_BYTES, Row, StoredTraining, TrainingSegment, own_rows
from tests.made.costly_study import tear
from tests.made.stored_study import store_training


def rows(images: Iterable[int], every: int | None = None, value: float = 0.0) -> list[Row]:
    """Rows that a study wrote which logs at an interval; None is of an earlier version."""
    shared = {} if every is None else {"log_every_images": every}
    return [{"images_seen": seen, "time": float(seen), "loss": value, **shared} for seen in images]


def seen(found: Iterable[Row]) -> list[int]:
    return [row["images_seen"] for row in found]


def test_rows_of_another_interval_do_not_change_a_finished_studys_curve() -> None:
    ours = rows(range(64, 257, 64), 64)
    theirs = rows(range(16, 257, 16), 16, value=9.0)
    assert own_rows(ours, 64) == own_rows([*ours, *theirs], 64) == ours
    assert own_rows([*theirs, *ours], 64) == ours
    assert own_rows([*ours, *theirs], 16) == theirs


def test_training_that_goes_on_shows_its_earlier_part() -> None:
    theirs, ours = rows(range(16, 129, 16), 16), rows(range(192, 257, 64), 64)
    assert seen(own_rows([*theirs, *ours], 64)) == [*range(16, 129, 16), 192, 256]
    # The row at 192 holds all since 128: what another study logs between the two is its own.
    between = rows(range(144, 257, 16), 16)
    assert seen(own_rows([*theirs, *ours, *between], 64)) == [*range(16, 129, 16), 192, 256]


def test_curve_ends_where_the_trial_ends() -> None:
    ours = rows(range(64, 257, 64), 64)
    assert seen(own_rows(ours, 64, until=128)) == [64, 128]
    assert own_rows(ours, 64, until=63) == []
    assert seen(own_rows([*ours, *rows(range(16, 257, 16), 16)], 16, until=40)) == [16, 32]


def test_rows_of_earlier_versions_count_as_own() -> None:
    before = rows(range(64, 129, 64))
    assert own_rows(before, 64) == own_rows(before, 16) == before
    after = rows((192, 256), 64)
    assert seen(own_rows([*before, *after], 64)) == [64, 128, 192, 256]


def test_without_an_interval_all_rows_count() -> None:
    both = [*rows((64, 128), 64), *rows((32, 96), 32)]
    assert seen(own_rows(both, None)) == [32, 64, 96, 128]


def test_of_a_step_that_came_again_the_later_row_counts() -> None:
    found = own_rows([*rows((64, 128), 64, 1.0), *rows((64,), 64, 2.0)], 64)
    assert [(row["images_seen"], row["loss"]) for row in found] == [(64, 2.0), (128, 1.0)]


def test_rows_that_say_no_images_are_passed_over(tmp_path: Path) -> None:
    training = store_training(tmp_path, "key", rows=rows((64,), 64))
    with training.curves_path.open("a") as file:
        file.write('{"loss": 1}\n7\n{"images_seen": null}\n{"images_seen": 128, "los')
    assert training.curves(64) == rows((64,), 64)
    assert StoredTraining(tmp_path / "none").curves(64) == []


def test_newest_row_holds_the_newest_of_each_measure(tmp_path: Path) -> None:
    found = [{**row, "ratio": 0.5} if row["images_seen"] == 64 else row for row in rows((64, 128))]
    training = store_training(tmp_path, "key", rows=found)
    newest = training.newest_row(64)
    assert (newest["images_seen"], newest["ratio"]) == (128, 0.5)
    assert training.newest_row(64, until=64)["images_seen"] == 64
    assert StoredTraining(tmp_path / "none").newest_row(64) == {}


def test_newest_row_is_found_before_the_end_of_a_long_file(tmp_path: Path) -> None:
    training = store_training(tmp_path, "key", rows=rows(range(64, 257, 64), 64))
    for row in rows(range(1, 257), 1, value=9.0):  # a study that logs more often
        training.add_curve_row(row)
    assert training.curves_path.stat().st_size > 2 * TAIL_BYTES
    newest = training.newest_row(64, until=256)
    assert (newest["images_seen"], newest["loss"]) == (256, 0.0)
    assert training.newest_row(1, until=256)["loss"] == 9.0


def test_rows_past_some_images_are_dropped_for_every_study(tmp_path: Path) -> None:
    both = [*rows((64, 128, 192), 64), *rows((32, 64, 160), 32), *rows((64,), 64, 2.0)]
    training = store_training(tmp_path, "key", rows=both)
    kept = training.drop_curves_after(128)
    assert [(row["images_seen"], row["log_every_images"]) for row in kept] == [
        (32, 32),
        (64, 64),
        (64, 32),
        (128, 64),
    ]
    assert kept[1]["loss"] == 2.0
    lines = training.curves_path.read_text().splitlines()
    assert [json.loads(line) for line in lines] == kept


def test_segment_is_stored_under_the_keys_of_format_3() -> None:
    segment = TrainingSegment(0, 64, 2.5, workers=2, gpus=1.0, time=7.0, study="small")
    row = encode(segment)
    assert (row["from"], row["to"], row["study"]) == (0, 64, "small")
    assert decode(TrainingSegment, row) == segment
    del row["study"]  # of an earlier version
    assert decode(TrainingSegment, row).study == ""


def test_torn_and_foreign_lines_of_segments_are_passed_over(tmp_path: Path) -> None:
    parts = [
        TrainingSegment(begin, begin + 64, 2.5, workers=2, gpus=1.0, time=float(begin))
        for begin in (0, 64)
    ]
    training = store_training(tmp_path, "key", segments=parts)
    with training.costs_path.open("a") as file:
        file.write('{"from": 128}\n')
    tear(training)
    assert training.segments() == parts


def test_training_counts_with_what_it_forks_from_up_to_the_fork(tmp_path: Path) -> None:
    def part(begin: int, end: int) -> TrainingSegment:
        return TrainingSegment(begin, end, 1.0, workers=1, gpus=0.0, time=0.0)

    store_training(tmp_path, "first", segments=[part(0, 32), part(32, 64), part(64, 128)])
    second = [part(32, 96), part(96, 128)]
    store_training(tmp_path, "second", segments=second, parent="first-32")
    third = store_training(tmp_path, "third", segments=[part(96, 128)], parent="second-96")
    found = [(key, one.begin, one.end) for key, one in third.all_segments()]
    assert found == [("third", 96, 128), ("second", 32, 96), ("first", 0, 32)]
    early = [(key, one.begin, one.end) for key, one in third.all_segments(until=32)]
    assert early == [("first", 0, 32)]
    assert math.isclose(sum(one.seconds for _, one in third.all_segments()), 3.0)


@pytest.mark.parametrize("identity", ["{", "{}", '{"parent": null}', '{"parent": "x"}'])
def test_training_whose_identity_names_no_parent_has_none(tmp_path: Path, identity: str) -> None:
    training = store_training(tmp_path, "key")
    training.identity_path.write_text(identity)
    assert training.parent() is None
