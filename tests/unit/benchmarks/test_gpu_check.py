import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks import gpu_check
from benchmarks.gpu_check import Stage, check, run_stage

ROOT = Path(__file__).resolve().parents[3]
MADE = """
import json, pathlib, signal, subprocess, sys, time
how, out = sys.argv[1], pathlib.Path(sys.argv[3])
row = {"what": "step", "ours": 2.0}
about = {"benchmark": how, "device": "made", "torch": "0", "rows": [row]}
if how != "empty":
    out.write_text(json.dumps(about))
if how == "fails":
    raise ValueError("the network is wrong")
if how == "hangs":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = subprocess.Popen(["sleep", "1000"])
    out.with_suffix(".pid").write_text(str(child.pid))
    time.sleep(1000)
"""


@pytest.fixture(autouse=True)
def made_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "made_stage.py").write_text(MADE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(gpu_check, "GRACE_S", 0.2)
    monkeypatch.setattr(gpu_check, "LEAST_S", 0.1)


def stage(how: str, limit_s: float = 60, **values: object) -> Stage:
    arguments = ("made_stage", how)
    return Stage(name=how, arguments=arguments, limit_s=limit_s, **values)  # type: ignore[arg-type]


def test_failed_stage_says_why_keeps_its_rows_and_the_next_begins(tmp_path: Path) -> None:
    printed, out = io.StringIO(), tmp_path / "results" / "check.json"
    planned = [
        stage("fails"),
        stage("runs"),
        stage("empty"),
        stage("needy", needs=("no_such_package", "json")),
    ]
    outcomes = check(planned, out, 60, Console(file=printed, width=160))
    assert [outcome.state for outcome in outcomes] == ["failed", "done", "done", "not run"]
    assert outcomes[0].why == "ValueError: the network is wrong"
    assert outcomes[3].why == "no_such_package cannot be imported"
    written = json.loads(out.read_text())["stages"]
    assert [bool(s["result"]) for s in written] == [True, True, False, False]
    assert written[0]["result"]["rows"][0]["ours"] == 2.0
    assert "fails: failed after" in printed.getvalue() and "step" in printed.getvalue()


def test_stage_at_its_limit_is_gone_with_what_it_started(tmp_path: Path) -> None:
    outcome = run_stage(stage("hangs"), tmp_path, limit_s=10)
    assert outcome.state == "stopped" and outcome.why == "it was stopped at its limit of 10 s"
    assert outcome.result is not None and outcome.seconds < 60
    child = int((tmp_path / "hangs.pid").read_text())
    deadline = time.monotonic() + 30
    while is_alive(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_alive(child)


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_no_stage_begins_after_the_time_of_all(tmp_path: Path) -> None:
    console = Console(file=io.StringIO())
    outcomes = check([stage("runs")], tmp_path / "check.json", 0.0, console)
    assert [outcome.why for outcome in outcomes] == ["0 s are left"]


def test_stages_are_modules_of_the_benchmarks() -> None:
    planned = gpu_check.stages(Path("photos"))
    assert planned[0].name == "correctness"
    for one in planned:
        assert (ROOT / f"{one.arguments[0].replace('.', '/')}.py").exists()


HIDDEN = """
import sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in HIDDEN:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

HIDDEN = set(sys.argv[1].split(","))
sys.meta_path.insert(0, Hidden())
for name in sys.argv[2:]:
    __import__(name)
"""


def test_a_bare_host_has_all_that_the_stages_import(tmp_path: Path) -> None:
    """torch, numpy, pillow, rich, safetensors: no ray, mlflow, optuna, and none of these."""
    absent = "ray mlflow optuna sqlalchemy pandas pyarrow scipy sklearn matplotlib torchvision"
    absent += " torch_fidelity psutil threadpoolctl yaml jinja2 shtab diffusers"
    modules = {one.arguments[0] for one in gpu_check.stages(None)}
    command = [sys.executable, "-c", HIDDEN, absent.replace(" ", ","), *sorted(modules)]
    done = subprocess.run(
        [*command, "benchmarks.stand_in", "benchmarks.gpu_check"],
        check=False,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
