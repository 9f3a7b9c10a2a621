"""docs/extend.md, followed to the letter: its changes apply, and what they add works."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.made.pages import diffs_of_extensions, write_changed_checkout

CHANGED_FILES = {
    "Add your dataset": 2,
    "Add your loss": 2,
    "Add your metric": 2,
    "Add your sampler": 5,
    "Add your study": 2,
    "Add your stopping rule": 1,
    "Add your stored field": 1,
}
"""How many files each section's diff changes; a study is one and its search space."""
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
schedule = NoiseSchedule.linear(DiffusionConfig())
config = ContrastiveConfig(form="student", space="eps", tau_schedule="constant", tau_0=2.0)
loss = ContrastiveLoss(config, schedule, torch.tensor([5, 5]), group_size=2)
eps = torch.stack([torch.zeros(1, 4, 4), torch.full((1, 4, 4), 3.0)])
t, labels = torch.tensor([9, 9]), torch.tensor([0, 1])
found = loss(torch.zeros_like(eps), t, labels, torch.zeros_like(eps), eps).loss
assert abs(found.item() - 2 * 10**-0.5) < 1e-6, found
"""
LOSS_IN_FIGURES = """
import math
import tempfile
from pathlib import Path
from typing import get_args
from diffrop.analysis.data.load import load_study
from diffrop.analysis.figures import class_confusion
from diffrop.analysis.figures.registry import TITLES
from diffrop.analysis.figures.registry import study_figure
from diffrop.analysis.figures.style import form_style
from diffrop.analysis.figures.study_comparison import study_comparison_figure
from diffrop.analysis.figures.toy_landscape import optimum
from diffrop.analysis.figures.toy_landscape import shift
from diffrop.analysis.figures.toy_landscape import toy_landscape_figure
from diffrop.config import Form
from diffrop.metrics import classifier
from tests.made.trained_study import write_trained_study
RARE = ("parameter_importance", "evaluations")
AXISLESS = ("parallel_coordinates", "sample_neighbours", *RARE)
classifier.NUM_IMAGES = 2_560
class_confusion.PER_CLASS = {20: 3}
study = load_study(write_trained_study(Path(tempfile.mkdtemp()) / "full", form="student"))
assert (study.trials["form"] == "student").sum() == 5
for name in TITLES:
    entry = study_figure(name)
    assert entry.applies(study) or name in AXISLESS, name
    figure = entry.draw(study)
    figure.draw_without_rendering()
    assert figure.axes[0].axison or name in AXISLESS, name
    texts = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    if "hinge" in texts and "exponential" in texts:
        assert "student" in texts, (name, texts)
study_comparison_figure([study]).draw_without_rendering()
looks = [form_style(form) for form in get_args(Form)]
assert len({look.colour for look in looks}) == len({look.marker for look in looks}) == 6
assert looks[-1].label == "student"
figure = toy_landscape_figure(0.2)
figure.draw_without_rendering()
assert [axes.get_label() for axes in figure.axes] == [*get_args(Form), "shift"]
assert "student" in [line.get_label() for line in figure.axes[-1].lines]
gap = optimum("student", 0.2)[1] - optimum("student", 0.2)[0]
slope = 2 * 0.95 * 0.05 * (gap - 2) - 0.2 * gap * (1 + gap**2) ** -1.5
assert abs(slope) < 1e-6 and math.isfinite(shift("student", 10.0)), slope
"""
METRIC = """
import csv
import tempfile
from pathlib import Path
import torch
from diffrop.analysis.data.load import load_study
from diffrop.analysis.report.metric_table import metric_rows
from diffrop.metrics.features import Extraction
from diffrop.metrics.reference import Reference
from diffrop.metrics.report import evaluate
from tests.made.analysed_study import read_trials
from tests.made.analysed_study import write_study
from tests.made.analysed_study import write_trials
rng = torch.Generator().manual_seed(0)
real = torch.randn(300, 6, generator=rng)
labels = torch.arange(300) % 3
reference = Reference.fit(real, labels, {"many": [0], "medium": [1], "few": [2]})
moved = Extraction("made", real + 2.0)
report = evaluate(moved, labels, reference, sampler="none", metrics=("fid", "mean_distance"))
found = report.scores["mean_distance/few"]
assert abs(found - 24**0.5) < 1e-4, report.scores
directory = write_study(Path(tempfile.mkdtemp()) / "study")
rows = read_trials(directory)
rows[1]["mean_distance/few"] = str(found)
write_trials(directory, rows)
(row,) = metric_rows(load_study(directory))["mean distance"]
assert row.group == "few" and row.values[:2] == ["-", "4.90"], row
"""
SAMPLER = """
import tempfile
from pathlib import Path
import torch
from diffrop.config import ExperimentConfig
from diffrop.diffusion.sampling import num_guided_evaluations
from diffrop.diffusion.sampling import sample
from diffrop.diffusion.schedule import NoiseSchedule
from diffrop.export import export_pipeline
from diffrop.study.sampling_choice import with_sampler
from diffrop.training.network import load_ema
from tests.made.pipelines import load
from tests.made.pipelines import trained
checkpoint = trained(**{"diffusion.num_timesteps": 20})
config = with_sampler(ExperimentConfig.from_dict(checkpoint.card["config"]), "euler-5")
assert num_guided_evaluations(config.sampling, config.diffusion, 0.0) == 5
schedule = NoiseSchedule.linear(config.diffusion)
labels, generator = torch.tensor([1, 2]), torch.Generator().manual_seed(0)
how = schedule, config.sampling, (1, 8, 8), labels, 0.0, 10, generator
ours = sample(load_ema(checkpoint, torch.device("cpu")), *how)
folder = Path(tempfile.mkdtemp()) / "out"
export_pipeline(checkpoint, folder, omega=0.0, sampler="euler-5")
generator = torch.Generator().manual_seed(0)
theirs = load(folder)([1, 2], generator=generator, output_type="pt").images
torch.testing.assert_close(theirs, ours, atol=1e-3, rtol=1e-3)
"""
STUDY = """
from diffrop.main import load_command
from diffrop.recipes import recipe
from diffrop.study.space import SearchSpace
command = load_command("study learning_rate").COMMAND
space = SearchSpace.load(command.space)
assert [parameter.name for parameter in space.parameters] == ["training.learning_rate"]
assert len(list(space.corners(recipe("digits").experiment))) == 2
"""


RULE = """
from diffrop.search.expected_survivors import expected_survivors
from diffrop.search.rung_scores import RungScores
from diffrop.record.trial_state import RungScore
from tests.made.small import small_study
study = small_study(scheduler="quarter", num_trials=9)
scores = RungScores(study)
for number in range(8):
    scores.add(number, 64, RungScore((float(number),), 20))
assert [scores.goes_on(number, 64) for number in range(8)] == [True, True, *[False] * 6]
first, last = expected_survivors(study)
assert first == 9 and 1 < last < 9, last
"""
FIELD = """
import json
import platform
import tempfile
from pathlib import Path
from diffrop.record.trainings import StoredTraining
from diffrop.record.trainings import TrainingSegment
training = StoredTraining(Path(tempfile.mkdtemp()))
row = {"from": 0, "to": 64, "seconds": 2.0, "workers": 1, "gpus": 0.0, "time": 1.0}
training.costs_path.write_text(json.dumps(row) + "\\n")
training.add_segment(
    TrainingSegment(begin=64, end=96, seconds=1.0, workers=1, gpus=0.0, time=2.0)
)
assert [segment.node for segment in training.segments()] == ["", platform.node()]
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with all changes of the page."""
    return write_changed_checkout(tmp_path_factory.mktemp("checkout"))


def test_changes_cost_as_many_files_as_the_page_says() -> None:
    changed = {heading: diff.count("\n+++ b/") for heading, diff in diffs_of_extensions().items()}
    assert changed == CHANGED_FILES


@pytest.mark.parametrize(
    "program",
    [DATASET, LOSS, LOSS_IN_FIGURES, METRIC, SAMPLER, STUDY, RULE, FIELD],
    ids=["dataset", "loss", "loss-in-figures", "metric", "sampler", "study", "rule", "field"],
)
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
