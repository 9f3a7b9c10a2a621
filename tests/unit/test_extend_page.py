"""docs/extend.md, followed to the letter: its changes apply, and what they add works."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.made.small import ROOT

PAGE = ROOT / "docs" / "extend.md"
DATASET = """
from diffrop.data import load_dataset
from diffrop.recipes import recipe
from diffrop.training.trainer import Trainer
import torch
config = recipe("stripes").experiment
dataset = load_dataset(config.data)
assert dataset.train.class_counts == [200, 20], dataset.train.class_counts
assert dataset.train.class_names == ("vertical", "horizontal")
assert torch.isfinite(Trainer(config, dataset, torch.device("cpu")).step()["loss/ddpm"])
"""
LOSS = """
import torch
from diffrop.config import ContrastiveConfig
from diffrop.config import DiffusionConfig
from diffrop.diffusion.contrastive import ContrastiveLoss
from diffrop.diffusion.schedule import NoiseSchedule
from diffrop.study.space import SearchSpace
from analysis.style import form_style
from pathlib import Path
schedule = NoiseSchedule.linear(DiffusionConfig())
config = ContrastiveConfig(form="student", space="eps", tau_schedule="constant", tau_0=2.0)
loss = ContrastiveLoss(config, schedule, torch.tensor([5, 5]), group_size=2)
eps = torch.stack([torch.zeros(1, 4, 4), torch.full((1, 4, 4), 3.0)])
t, labels = torch.tensor([9, 9]), torch.tensor([0, 1])
found = loss(torch.zeros_like(eps), t, labels, torch.zeros_like(eps), eps).loss
assert abs(found.item() - 2 * 10**-0.5) < 1e-6, found
form = SearchSpace.load(Path("search_spaces/tau.yaml")).parameters[0]
assert "student" in form.choices
assert form_style("student").label == "student"
"""
METRIC = """
import torch
from diffrop.metrics.features import Extraction
from diffrop.metrics.reference import Reference
from diffrop.metrics.report import evaluate
from analysis.summary import METRIC_WORDS
rng = torch.Generator().manual_seed(0)
real = torch.randn(300, 6, generator=rng)
labels = torch.arange(300) % 3
reference = Reference.fit(real, labels, {"many": [0], "medium": [1], "few": [2]})
moved = Extraction("made", real + 2.0)
report = evaluate(moved, labels, reference, sampler="none", metrics=("fid", "mean_distance"))
assert abs(report.scores["mean_distance/few"] - 24**0.5) < 1e-4, report.scores
assert "mean_distance" in METRIC_WORDS
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with all three changes of the page."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("diffrop", "analysis", "search_spaces"):
        for path in (ROOT / name).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                target = folder / path.relative_to(ROOT)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(path.read_bytes())
    changes = re.findall(r"```diff\n(.*?)```", PAGE.read_text("utf-8"), re.S)
    assert len(changes) == 3
    subprocess.run(["git", "init", "--quiet", str(folder)], check=True)
    for change in changes:
        done = subprocess.run(
            ["git", "apply", "-"], cwd=folder, input=change, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("program", [DATASET, LOSS, METRIC], ids=["dataset", "loss", "metric"])
def test_what_the_page_adds_works(checkout: Path, program: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=checkout,
        capture_output=True,
        text=True,
        timeout=200,
        env={"PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
