"""A study from Python, run to its end and gone on with."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(600)
PROGRAM = """
import diffrop

options = dict(
    study_name="s", images=512, first_rung=256, num_samples=100, rung_samples=50, omegas=[0, 1],
    gpus_per_worker=0, confirm=0,
    set={"sampling.num_steps": 2, "training.checkpoint_every_images": 128},
)
result = diffrop.Study(trials=2, **options).run()
print("found", len(result.frame), sorted(result.best))
result = diffrop.Study(trials=3, resume=True, **options).run()
print("found", len(result.frame))
"""


def test_study_runs_and_goes_on_from_python(tmp_path: Path) -> None:
    path = tmp_path / "notebook.py"
    path.write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, str(path)], cwd=tmp_path, capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stderr
    counts = [line for line in done.stdout.splitlines() if line.startswith("found ")]
    assert counts == ["found 2 ['config', 'format', 'omega', 'omegas', 'provenance']", "found 3"]
    assert (tmp_path / "runs" / "s" / "report.html").exists()
