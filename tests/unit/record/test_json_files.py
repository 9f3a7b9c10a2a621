import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from diffrop.record.json_files import (
    append_json_line,
    parse_json_lines,
    parse_record,
    read_json,
    read_json_lines,
    read_record,
    write_json_lines,
    write_record,
)
from tests.made.processes import run_bare


@dataclass(frozen=True)
class Note:
    text: str


def test_record_is_written_whole_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "note.json"
    assert read_record(path, Note) is None
    write_record(path, Note("first"))
    write_record(path, Note("second"))
    assert read_record(path, Note) == Note("second")
    assert [file.name for file in tmp_path.iterdir()] == ["note.json"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [("{", "Expecting"), ("[]", "it holds no mapping"), ('{"text": 1}', "Note.text is 1")],
)
def test_file_that_holds_something_else_is_refused_by_its_path(
    tmp_path: Path, text: str, reason: str
) -> None:
    path = tmp_path / "note.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"cannot read .*note\.json \(.*{reason}"):
        parse_record(path, Note)


def test_missing_file_is_refused_where_it_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"cannot read .*none\.json \(No such file"):
        read_json(tmp_path / "none.json")


def test_lines_are_added_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    assert read_json_lines(path, dict) == []
    append_json_line(path, {"a": 1})
    append_json_line(path, Note("b"))
    assert read_json_lines(path, dict) == [{"a": 1}, {"text": "b"}]
    write_json_lines(path, [])
    assert read_json_lines(path, dict) == [] and not path.exists()
    write_json_lines(path, [{"c": 2}])
    assert read_json_lines(path, dict) == [{"c": 2}]


@pytest.mark.parametrize("torn", ['{"a": 2, "b', '{"a": 2', "{", '"'])
def test_torn_last_line_is_passed_over(tmp_path: Path, torn: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1}\n' + torn)
    with pytest.warns(UserWarning, match=r"rows.jsonl is damaged \(1 of 2 lines, 2, cannot"):
        assert read_json_lines(path, dict) == [{"a": 1}]


def test_torn_line_does_not_cost_the_next_one(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1}\n{"a": 2')
    append_json_line(path, {"a": 3})
    append_json_line(path, {"a": 4})
    with pytest.warns(UserWarning, match="1 of 4 lines"):
        assert read_json_lines(path, dict) == [{"a": 1}, {"a": 3}, {"a": 4}]


def test_torn_character_does_not_hide_the_rows_before_it(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"a": 1}\n{"name": "\xc3')
    with pytest.warns(UserWarning, match="1 of 2 lines"):
        assert read_json_lines(path, dict) == [{"a": 1}]


def test_lines_that_hold_no_mapping_are_passed_over() -> None:
    text = "\n".join(["7", "[1]", "null", '"text"', "", json.dumps({"a": 1}), "not json"])
    assert parse_json_lines(text) == [{"a": 1}]


def test_line_for_which_there_is_no_room_leaves_no_part_of_it(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    append_json_line(path, {"number": 1})
    limit = path.stat().st_size + 5
    program = (
        "import resource, sys; from pathlib import Path\n"
        "from diffrop.record.json_files import append_json_line\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n"
        "try: append_json_line(Path(sys.argv[1]), {'number': 2})\n"
        "except OSError: print('refused')"
    )
    assert run_bare(program, str(path)) == "refused\n"
    append_json_line(path, {"number": 3})
    assert [row["number"] for row in read_json_lines(path, dict)] == [1, 3]
