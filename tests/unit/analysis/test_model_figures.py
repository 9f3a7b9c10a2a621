from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from matplotlib.image import AxesImage

from analysis import class_confusion
from analysis import model as analysis_model
from analysis.class_confusion import (
    class_confusion_figure,
    confusion,
    confusion_shares,
    frequent_first,
)
from analysis.distance_over_time import distance_over_time_figure, pair_distances
from analysis.figures import FIGURES
from analysis.load import StudyResults, load_study
from analysis.model import can_read_model, load_data, load_model, model_trials, study_extractor
from analysis.sample_neighbours import NUM_SHOWN, find_neighbours, sample_neighbours_figure
from diffrop.checkpoint_file import write_checkpoint
from diffrop.data import load_dataset
from diffrop.metrics import classifier
from diffrop.metrics.neighbours import nearest
from diffrop.training.trainer import Trainer
from tests.made.small import small_experiment

from .drawn import axes_of, lines_of, sentence_of, text_of
from .full_study import FINAL, write_full_study

CPU = torch.device("cpu")
BEST = 1
"""The best contrastive trial of the full study."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> StudyResults:
    """The full study with checkpoints of its baseline and its best: networks of a few steps."""
    directory = write_full_study(tmp_path_factory.mktemp("trained") / "full")
    config = small_experiment(evaluation__num_samples=1_000)
    dataset = load_dataset(config.data)
    content = yaml.safe_load((directory / "study.yaml").read_text())
    content["experiment"] = config.to_dict()
    (directory / "study.yaml").write_text(yaml.safe_dump(content))
    for number, form in ((0, "none"), (BEST, "reciprocal")):
        trainer = Trainer(config.with_values({"contrastive.form": form}), dataset, CPU)
        trainer.step()
        path = directory / "trials" / f"t{number:03d}" / "training" / f"images_{FINAL:012d}"
        write_checkpoint(path.with_suffix(".safetensors"), trainer.checkpoint())
    return load_study(directory)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A classifier of a few steps and few samples: these tests are not about how good it is."""
    monkeypatch.setattr(classifier, "NUM_IMAGES", 2_560)
    monkeypatch.setattr(class_confusion, "PER_CLASS", {20: 3})


def test_baseline_and_best_with_a_checkpoint_are_shown(trained: StudyResults) -> None:
    assert [trial["number"] for trial in model_trials(trained)] == [0, BEST]
    assert can_read_model(trained)


def test_large_networks_are_left_to_gpus(
    trained: StudyResults, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(analysis_model, "MAX_CPU_PARAMETERS", 1_000)
    assert not can_read_model(trained)
    monkeypatch.setattr(analysis_model, "_device", lambda: torch.device("cuda"))
    assert can_read_model(trained)


def test_model_samples_with_the_trials_sampler_and_omega(trained: StudyResults) -> None:
    trial = model_trials(trained)[-1]
    model = load_model(trained, trial)
    assert (model.sampling.sampler, model.sampling.num_steps) == ("ddim", 16)
    assert model.config.contrastive.form == "reciprocal"
    labels = torch.tensor([0, 1, 9])
    images = model.samples(labels, seed=3)
    assert images.dtype == torch.uint8 and images.shape == (3, 1, 8, 8)
    assert torch.equal(images, model.samples(labels, seed=3))


def test_neighbours_are_the_nearest_training_images(trained: StudyResults) -> None:
    data = load_data(trained)
    model = load_model(trained, model_trials(trained)[-1])
    found = find_neighbours(model, data, None, label=9)
    assert found.samples.shape == found.nearest.shape == (NUM_SHOWN, 1, 8, 8)
    pixels = data.train.images.flatten(1).float()
    own = torch.from_numpy(found.samples).flatten(1).float()
    brute = torch.cdist(own, pixels)
    unit = nearest(data.heldout.images[data.heldout.labels == 9].flatten(1).float(), pixels)[0]
    expected = brute.min(dim=1).values / unit.median()
    np.testing.assert_allclose(found.distances, expected, rtol=1e-4)
    np.testing.assert_array_equal(found.nearest, data.train.images[brute.argmin(dim=1)])
    assert found.nearest_labels == data.train.labels[brute.argmin(dim=1)].tolist()
    assert 0 <= found.memorisation <= 1


def test_sample_figure_shows_tail_and_head_with_their_counts(trained: StudyResults) -> None:
    figure = sample_neighbours_figure(trained)
    titles = {axes.get_label(): axes.get_title(loc="left") for axes in figure.axes}
    assert titles["tail"].startswith("Rarest class: 9, 17 training images; memorisation")
    assert titles["head"].startswith("Most frequent class: 0, 170 training images")
    (picture,) = [c for c in axes_of(figure, "tail").get_children() if isinstance(c, AxesImage)]
    assert picture.get_array().shape == (2 * 10, NUM_SHOWN * 10)
    text = text_of(figure)
    assert "omega = 1, ddim-16" in text and "690 training images by classifier-digits" in text
    assert "N = 40 samples of the class" in text and "N = 1,000" in text


def test_confusion_rows_are_shares_of_the_asked_class() -> None:
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    seen = torch.tensor([0, 1, 1, 1, 0, 0])
    shares = confusion_shares(labels, seen, order=[2, 0, 1])
    np.testing.assert_allclose(shares, [[0, 1, 0], [0, 0.5, 0.5], [0, 0, 1]])


def test_confusion_figure_has_a_matrix_for_baseline_and_best(trained: StudyResults) -> None:
    figure = class_confusion_figure(trained)
    data = load_data(trained)
    extractor = study_extractor(trained, data, "classifier")
    assert frequent_first(data) == list(range(10))
    for trial, label in zip(model_trials(trained), ("baseline", "best"), strict=True):
        axes = axes_of(figure, label)
        (matrix,) = [c for c in axes.get_children() if isinstance(c, AxesImage)]
        expected = confusion(trained, trial, data, extractor)
        np.testing.assert_allclose(matrix.get_array(), expected)
        np.testing.assert_allclose(expected.sum(axis=1), 1)
        assert f"{np.diag(expected).mean():.1%} seen as asked" in axes.get_title(loc="left")
    text = text_of(figure)
    assert "N = 30 samples, 3 a class, ddim-16" in text and "classifier-digits" in text


def test_distances_are_those_of_the_loss(trained: StudyResults) -> None:
    data = load_data(trained)
    model = load_model(trained, model_trials(trained)[-1])
    found = pair_distances(model, data)
    assert found["t"].nunique() == 11 and found["t"].max() == 999
    # In mu space, with noise of each image's own, d is about 2 where all is noise, and the part
    # that depends on the network is small at every t.
    late = found.loc[found["t"] == 999, "distance"]
    assert late.mean() == pytest.approx(2, rel=0.1)
    share = (found["distance"] - found["true_distance"]).abs() / found["true_distance"]
    assert share.groupby(found["t"]).median().max() < 0.2
    assert set(found["kind"]) == {"many and many", "many and few", "few and few", "other"}


def test_distance_figure_draws_medians_and_bands(trained: StudyResults) -> None:
    figure = distance_over_time_figure(trained)
    found = pair_distances(load_model(trained, model_trials(trained)[-1]), load_data(trained))
    axes = axes_of(figure, "distance")
    medians = found[found["kind"] == "many and few"].groupby("t")["distance"].median()
    (line,) = lines_of(axes, "many and few")
    np.testing.assert_allclose(line.get_ydata(), medians)
    assert "few and few band" in [band.get_label() for band in axes.collections]
    text = text_of(figure)
    assert "mu space, own noise, N = 96 training images" in text and "N = 1,000" in text


def test_missing_data_and_damaged_checkpoints_are_told_in_a_sentence(
    trained: StudyResults, tmp_path: Path
) -> None:
    directory = write_full_study(tmp_path / "full")
    path = directory / "trials" / "t001" / "training" / f"images_{FINAL:012d}.safetensors"
    source = trained.folder(BEST) / "training" / path.name
    path.write_bytes(source.read_bytes()[:-100])
    for entry in FIGURES[-3:]:
        assert "is not a readable checkpoint" in sentence_of(entry.draw(load_study(directory)))
    path.write_bytes(source.read_bytes())
    content = yaml.safe_load((directory / "study.yaml").read_text())
    content["experiment"]["data"] |= {"dataset": "image_folder", "root": "/nowhere"}
    (directory / "study.yaml").write_text(yaml.safe_dump(content))
    for entry in FIGURES[-3:]:
        assert "data root is '/nowhere'" in sentence_of(entry.draw(load_study(directory)))


def test_study_without_checkpoints_has_no_look_inside(full_study: StudyResults) -> None:
    assert not can_read_model(full_study)
    for entry in FIGURES[-3:]:
        assert not entry.applies(full_study)
        assert "has a checkpoint left" in sentence_of(entry.draw(full_study))
