"""docs/reliability.md and the tests of faults name the same rows."""

from pathlib import Path

import pytest

from tests.made.faults import LOST, PAGE, FaultTable, declared, fault, filled, page_rows

PAGE_OF_TWO = """text
| # | fault | injected by | what happens | lost | s |
|---|---|---|---|---|---|
| 1 | a worker raises |  | it goes on |  |  |
| 2 | a worker is killed | a signal | the same | nothing | 3 |
"""
TESTS = f"""
import pytest

@pytest.mark.faults(1, "an exception")
@pytest.mark.faults(1, "another")
def test_first(record_property):
    record_property({LOST!r}, "one step")

@pytest.mark.faults(3, "a bit")
def test_second():
    assert False

def test_of_no_fault():
    pass
"""


def test_page_lists_every_fault_that_a_test_declares_and_no_other() -> None:
    rows = page_rows(PAGE.read_text("utf-8"))
    assert rows.keys() == declared().keys()
    assert list(rows) == sorted(rows)
    assert all(len(cells) == 5 and cells[0] and cells[2] for cells in rows.values())


def test_rows_take_what_a_run_found_and_keep_the_rest(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = faults\n")
    (tmp_path / "test_made.py").write_text(TESTS)
    table = FaultTable(write=False)
    options = [
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        "-c",
        str(tmp_path / "pytest.ini"),
    ]
    assert pytest.main([*options, str(tmp_path)], plugins=[table]) == 1
    page = PAGE_OF_TWO + "| 3 | damage | | refused | | |\n"
    rows = page_rows(filled(page, table.outcomes))
    assert rows[1] == ["a worker raises", "an exception; another", "it goes on", "one step", "0"]
    assert rows[2] == page_rows(PAGE_OF_TWO)[2]
    assert rows[3] == ["damage", "a bit", "refused", "FAILED: test_second", "0"]


def test_mark_is_what_the_table_reads() -> None:
    assert fault(7, "SIGKILL").mark.args == (7, "SIGKILL")
