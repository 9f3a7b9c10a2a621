import json
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from benchmarks import fill_readme
from benchmarks.aims import AIMS, FORMS, START, STEP
from benchmarks.fill_readme import README, block, cell, filled, kept
from benchmarks.measure import Row


def form(ratio: float, memory: float, reached: bool) -> dict[str, object]:
    what = f"form {ratio}"
    row = Row(what=what, unit="ms", ours=9.0, ratio=ratio, memory_mib=memory, reached=reached)
    return {**asdict(row), "aim": FORMS.text}


def made_check(device: str) -> dict[str, object]:
    step = Row(what="step", ratio=5.72, of_ceiling=0.411, memory_mib=9300, aim=STEP.text)
    rows = [{**asdict(step), "reached": True}, form(1.004, 3, True), form(1.021, 12, False)]
    return {
        "date": "2026-12-01",
        "device": device,
        "torch": "2.11.0",
        "python": "3.12.3",
        "stages": [
            {"stage": "training", "state": "done", "why": "", "result": {"rows": rows}},
            {"stage": "start", "state": "stopped", "why": "it was too slow", "result": None},
        ],
    }


def test_readme_shows_the_check_that_is_kept() -> None:
    text = README.read_text(encoding="utf-8")
    assert filled(text, kept()) == text


def test_table_says_what_was_measured_and_what_was_not() -> None:
    lines = block(made_check("NVIDIA H200")).split("\n")
    assert lines[0] == "Measured on 2026-12-01: NVIDIA H200, torch 2.11.0, Python 3.12.3."
    assert "start: stopped, it was too slow." in lines
    cells = {line.split(" | ")[1]: line.split(" | ")[2] for line in lines if " | " in line}
    assert cells[STEP.text] == "5.72 times, 41.1 % of the ceiling, 9,300 MiB: reached"
    assert cells[FORMS.text] == "1.004 to 1.021 times, 3 to 12 MiB: missed by 1 of 2"
    assert cells[START.text] == "not measured"
    assert all("not measured" in line for line in block(None).split("\n")[4:])


def test_start_is_given_in_seconds() -> None:
    row = Row(what="start", unit="s", plain=80, ours=12.3, ratio=0.15, reached=True)
    assert cell([asdict(row)]) == "12.3 s: reached"


def test_aims_are_told_apart_by_their_text() -> None:
    assert len({aim.text for aim in AIMS}) == len(AIMS)


@pytest.mark.parametrize("device", ["cpu", "stand-in"])
def test_what_a_cpu_stood_in_for_does_not_reach_the_readme(
    device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "check.json"
    path.write_text(json.dumps(made_check(device)))
    monkeypatch.setattr(fill_readme, "KEPT", tmp_path / "kept.json")
    monkeypatch.setattr(sys, "argv", ["fill_readme", str(path)])
    with pytest.raises(SystemExit):
        fill_readme.main()
    assert not (tmp_path / "kept.json").exists()
