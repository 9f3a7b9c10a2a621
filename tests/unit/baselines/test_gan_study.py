from pathlib import Path

import pytest

from diffrop.baselines.classifier_config import ClassifierConfig
from diffrop.baselines.gan_config import GanModel
from diffrop.baselines.gan_study import report_lines, run_gan
from diffrop.config import EvaluationConfig
from diffrop.console.screens import QuietScreen
from tests.made.gans import DATA, small_gan
from tests.made.small import small_inputs
from tests.made.trainings import CPU


@pytest.mark.parametrize("model", ["gsr", "cbgan"])
def test_run_ends_in_a_report_and_resumes(
    model: GanModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = ClassifierConfig(num_images=64, batch_size=32)
    monkeypatch.setattr("diffrop.baselines.gan_study.classifier_recipe", lambda name: short)
    inputs, evaluation = small_inputs(), EvaluationConfig(num_samples=60, extractor="classifier")
    config, screen = small_gan(model), QuietScreen()
    report = run_gan(config, DATA, evaluation, inputs, tmp_path / "run", CPU, screen)
    assert report.num_samples["all"] == 60
    assert (tmp_path / "run" / "samples.png").exists()
    assert (tmp_path / "run" / "report.json").exists()
    again = run_gan(config, DATA, evaluation, inputs, tmp_path / "run", CPU, screen)
    assert again.to_dict() == report.to_dict()
    reference_scores = {kind: {"scores": {"fid/all": 1.0}} for kind in ("real", "noise")}
    printed = report_lines(report, reference_scores, config, "pixels")
    assert "(real images 1.00, noise 1.00)" in printed[0]
    assert max(len(line) for line in printed) <= 80
