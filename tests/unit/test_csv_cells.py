import csv
import io
from pathlib import Path

import pandas as pd
import pytest

from diffrop.csv_cells import csv_text, guarded, plain, plain_frame
from diffrop.record.tables import read_trials
from tests.made.faults import fault

TEXTS = [
    *("=1+1", "+1+1", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "=cmd|' /C calc'!A0", "=", "-"),
    *("'=1", "''-x", "'", "'abc", "a=1", "- a list", "-inf", "+nan", "", "two\r\nlines", '"q",x'),
]
NUMBERS = [-1.5, -3, 0, 2e-7, float("-inf"), None, True]
NUMERIC_TEXTS = ["-1.5", "+3", "-.5e-3", "1e5"]


@pytest.mark.parametrize("text", TEXTS)
def test_text_comes_back_and_is_no_formula(text: str) -> None:
    cell = guarded(text)
    assert plain(cell) == text
    assert len(cell) < 2 or cell[0] not in "=+-@\t\r\n"


@pytest.mark.parametrize("value", [*NUMBERS, *NUMERIC_TEXTS])
def test_numbers_stay_as_they_are(value: object) -> None:
    assert guarded(value) is value and plain(value) is value


@fault(38, "names and messages that are formulas, in every text column of a CSV file")
def test_a_whole_table_comes_back_through_a_file(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "number": range(len(TEXTS)),
            "state": "COMPLETE",
            "baseline": False,
            "value": [-0.5] * len(TEXTS),
            "message": TEXTS,
            "training.batch_size": [64, *[None] * (len(TEXTS) - 1)],
        }
    )
    path = tmp_path / "trials.csv"
    path.write_bytes(csv_text(frame).encode())
    rows = list(csv.DictReader(io.StringIO(path.read_bytes().decode(), newline="")))
    first = {row["message"][:1] for row in rows if len(row["message"]) > 1}
    assert not first & set("=+-@\t\r\n")
    assert {row["value"] for row in rows} == {"-0.5"}
    found = read_trials(path, "s", "none")
    assert found["message"].tolist() == TEXTS
    assert (found["value"] == -0.5).all()


def test_types_of_other_columns_stay() -> None:
    frame = pd.DataFrame({"a": pd.array([1, None], "Int64"), "b": [1.0, None], "c": ["=x", None]})
    assert csv_text(frame) == "a,b,c\n1,1.0,'=x\n,,\n"
    assert plain_frame(frame)["a"].dtype == "Int64"
