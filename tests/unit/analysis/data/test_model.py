from pathlib import Path

import pytest
import torch
import yaml

from diffrop.analysis.data import model as analysis_model
from diffrop.analysis.data.load import StudyResults, load_study
from diffrop.analysis.data.model import (
    can_read_model,
    load_model,
    model_trials,
)
from diffrop.analysis.figures.registry import study_figure
from tests.made.drawn import sentence_of
from tests.made.full_card import FINAL
from tests.made.full_study import write_full_study
from tests.made.trained_study import BEST

pytestmark = pytest.mark.usefixtures("quick_samples")
LOOKING_INSIDE = [
    study_figure(name) for name in ("sample_neighbours", "class_confusion", "distance_over_time")
]


def test_baseline_and_best_with_a_checkpoint_are_shown(trained_study: StudyResults) -> None:
    assert [trial["number"] for trial in model_trials(trained_study)] == [0, BEST]
    assert can_read_model(trained_study)


def test_large_networks_are_left_to_gpus(
    trained_study: StudyResults, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(analysis_model, "MAX_CPU_PARAMETERS", 1_000)
    assert not can_read_model(trained_study)
    monkeypatch.setattr(analysis_model, "_device", lambda: torch.device("cuda"))
    assert can_read_model(trained_study)


def test_model_samples_with_the_trials_sampler_and_omega(trained_study: StudyResults) -> None:
    trial = model_trials(trained_study)[-1]
    model = load_model(trained_study, trial)
    assert (model.config.sampling.sampler, model.config.sampling.num_steps) == ("ddim", 16)
    assert model.config.contrastive.form == "reciprocal"
    labels = torch.tensor([0, 1, 9])
    images = model.samples(labels, seed=3)
    assert images.dtype == torch.uint8 and images.shape == (3, 1, 8, 8)
    assert torch.equal(images, model.samples(labels, seed=3))


def test_missing_data_and_damaged_checkpoints_give_a_sentence(
    trained_study: StudyResults, tmp_path: Path
) -> None:
    directory = write_full_study(tmp_path / "full")
    path = directory / "trials" / "t001" / "training" / f"images_{FINAL:012d}.safetensors"
    source = trained_study.folder(BEST).training().checkpoint_path(FINAL)
    whole = source.read_bytes()
    damaged = {
        whole[:-100]: "No trial to show has a checkpoint left",
        whole[:-4] + bytes(byte ^ 1 for byte in whole[-4:]): "is damaged: its content does not",
    }
    for content, sentence in damaged.items():
        path.write_bytes(content)
        for entry in LOOKING_INSIDE:
            assert sentence in sentence_of(entry.draw(load_study(directory)))
    path.write_bytes(whole)
    settings = yaml.safe_load((directory / "study.yaml").read_text())
    settings["experiment"]["data"] |= {"dataset": "image_folder", "root": "/nowhere"}
    (directory / "study.yaml").write_text(yaml.safe_dump(settings))
    for entry in LOOKING_INSIDE:
        assert "data root is '/nowhere'" in sentence_of(entry.draw(load_study(directory)))


def test_study_without_checkpoints_has_no_look_inside(full_study: StudyResults) -> None:
    assert not can_read_model(full_study)
    for entry in LOOKING_INSIDE:
        assert not entry.applies(full_study)
        assert "has a checkpoint left" in sentence_of(entry.draw(full_study))
