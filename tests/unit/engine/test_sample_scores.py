"""Scores of images from files are those of the checkpoint that drew them."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from diffrop.checkpoint_file import read_checkpoint, write_checkpoint
from diffrop.data import LabelledImages, load_dataset
from diffrop.data.sample_sets import read_samples
from diffrop.diffusion.schedule import NoiseSchedule
from diffrop.engine.sample_scores import (
    SampleSet,
    Target,
    checkpoint_config,
    drawn_samples,
    score_samples,
    score_target,
)
from diffrop.metrics.frechet import frechet_distance, gaussian_statistics
from diffrop.metrics.report import ShotReport
from diffrop.metrics.statistics_file import write_statistics
from diffrop.scoring.samples import ScoringInputs
from diffrop.scoring.score import score_choice
from diffrop.study.sampling_choice import sampling_choices
from diffrop.training.network import load_ema
from diffrop.training.trainer import Trainer
from tests.made.commands import command
from tests.made.small import small_experiment

CPU = torch.device("cpu")
N = 230
"""Of ten classes, and not a whole number of each class's share in a group."""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = small_experiment(evaluation__num_samples=N)
    trainer = Trainer(config, load_dataset(config.data), CPU)
    trainer.step()
    path = tmp_path_factory.mktemp("checkpoint") / "images_000000000032.safetensors"
    write_checkpoint(path, trainer.checkpoint())
    return path


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the classifier that all tests score with."""
    return tmp_path_factory.mktemp("runs") / ".cache"


@pytest.fixture(scope="module")
def scored(checkpoint: Path, cache: Path) -> tuple[SampleSet, Target, ShotReport]:
    found = read_checkpoint(checkpoint)
    config, dataset = checkpoint_config(found, {})
    target = score_target(config, dataset, cache, CPU)
    samples = drawn_samples(found, config, None, 0.5, CPU)
    return samples, target, score_samples(samples, target, CPU)


def test_checkpoint_has_the_fids_of_its_study(
    checkpoint: Path, scored: tuple[SampleSet, Target, ShotReport]
) -> None:
    _, target, report = scored
    found = read_checkpoint(checkpoint)
    config, dataset = checkpoint_config(found, {"evaluation.guidance_scales": [0.5]})
    inputs = ScoringInputs(dataset, target.extractor, target.reference)
    schedule = NoiseSchedule.linear(config.diffusion)
    (choice,) = sampling_choices(config)
    expected = score_choice({None: load_ema(found, CPU)}, schedule, config, inputs, choice, N)
    assert report.protocol == expected.protocol
    for name, value in expected.scores.items():
        assert report.scores[name] == pytest.approx(value, abs=1e-9)


def written_by_another_tool(samples: LabelledImages, path: Path) -> None:
    """Images as a program that knows nothing of ours writes them: one numbering for all."""
    if path.suffix == ".npz":
        order = np.random.default_rng(0).permutation(10)  # classes come in any order
        rows = np.argsort(order[samples.labels.numpy()], kind="stable")
        images = np.transpose(samples.images.numpy(), (0, 2, 3, 1))[rows]
        np.savez_compressed(path, images, samples.labels.numpy()[rows])
        return
    names = "{}.png" if path.name == "unpadded" else "sample_{:05d}.PNG"
    for number, label in enumerate(samples.labels.tolist()):
        (path / str(label)).mkdir(parents=True, exist_ok=True)
        grey = samples.images[number, 0].numpy()
        rgb = np.stack([grey, grey, grey], axis=2)
        Image.fromarray(rgb).save(path / str(label) / names.format(number))


@pytest.mark.parametrize("name", ["theirs", "unpadded", "theirs.npz"])
def test_images_of_another_tool_score_as_the_checkpoint_that_drew_them(
    scored: tuple[SampleSet, Target, ShotReport], tmp_path: Path, name: str
) -> None:
    samples, target, expected = scored
    written_by_another_tool(samples.images, tmp_path / name)
    dataset = load_dataset(small_experiment().data)
    found = score_samples(SampleSet(read_samples(tmp_path / name, dataset), name), target, CPU)
    assert set(found.scores) == set(expected.scores) and "fid/few" in found.scores
    assert {"recall/all", "kid/few", "inception_score/all", "f_8/all"} <= set(found.scores)
    for key, value in expected.scores.items():
        assert found.scores[key] == pytest.approx(value, abs=1e-6)
    for key, interval in expected.intervals.items():
        assert found.intervals[key].low == pytest.approx(interval.low, abs=1e-6)


def test_statistics_alone_give_fids_of_all_groups_against_all_classes(
    scored: tuple[SampleSet, Target, ShotReport], checkpoint: Path, cache: Path, tmp_path: Path
) -> None:
    samples, target, expected = scored
    config, dataset = checkpoint_config(read_checkpoint(checkpoint), {})
    path = tmp_path / "ref.npz"
    write_statistics(path, target.reference.statistics["all"], target.extractor.name)
    against = score_target(config, dataset, cache, CPU, path)
    found = score_samples(samples, against, CPU)
    near = pytest.approx(expected.scores["fid/all"], rel=1e-7)  # some features are always 0
    assert found.scores["fid/all"] == near
    for group in ("many", "medium", "few"):
        key = f"fid_full/{group}"
        assert found.scores[key] == pytest.approx(expected.scores[key], rel=1e-7)
        assert found.intervals[key].high == pytest.approx(expected.intervals[key].high, rel=1e-6)
    metrics = {name.partition("/")[0] for name in found.scores}
    assert metrics == {"fid", "fid_full", "fid_infinity", "inception_score", "accuracy"}
    assert found.protocol.reference.startswith("statistics of ref.npz (")


def test_statistics_of_other_features_are_refused(
    checkpoint: Path, cache: Path, tmp_path: Path
) -> None:
    config, dataset = checkpoint_config(read_checkpoint(checkpoint), {})
    for dim, extractor, problem in (
        (64, "another", "is of the features of another; allowed: of classifier-digits"),
        (2048, "classifier-digits", "is of 2,048 features an image; allowed: 64"),
    ):
        path = tmp_path / f"{dim}.npz"
        write_statistics(path, gaussian_statistics(torch.randn(3, dim)), extractor)
        with pytest.raises(ValueError, match=problem):
            score_target(config, dataset, cache, CPU, path)


def run(*words: object) -> int:
    return command("score")([str(word) for word in words])


def test_command_scores_what_the_command_sample_wrote(
    checkpoint: Path, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = ("--runs-root", cache.parent)
    for form in ("folders", "npz"):
        drawing = ["--checkpoint", checkpoint, "--num", N // 10, "--seed", 12345, "--omega", 0.5]
        words = [*drawing, "--format", form, "--out", tmp_path / form]
        assert command("sample")([str(word) for word in words]) == 0
    assert sorted(path.name for path in (tmp_path / "npz").iterdir()) == [
        "grid.png",
        "samples.npz",
    ]
    sources = {
        "checkpoint": ["--checkpoint", checkpoint, "--omega", 0.5],
        "folders": ["--samples", tmp_path / "folders"],
        "npz": ["--samples", tmp_path / "npz/samples.npz"],
    }
    scores = {}
    for name, words in sources.items():
        out = tmp_path / f"{name}.json"
        assert run(*words, *root, "--out", out) == 0
        found = json.loads(out.read_text())
        assert found["protocol"]["neighbours"] == 5  # of precision and recall
        scores[name] = found["scores"]
        for key, value in scores["checkpoint"].items():
            assert scores[name][key] == pytest.approx(value, abs=1e-6), (name, key)
    text = capsys.readouterr().out
    assert f"ddim-2, omega 0.5: N = {N} over all classes, N = 69 per shot group, on " in text
    assert "1 file(s) that are not read as images of a class (.png 1)." in text  # the grid
    assert "recall (k = 5," in text and "95% interval" in text


def test_command_writes_statistics_that_others_read(
    cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "digits.npz"
    assert run("--write-statistics", path, "--runs-root", cache.parent) == 0
    assert "the full training set, class-weighted, 1,797 images" in capsys.readouterr().out
    with np.load(path, allow_pickle=False) as file:
        mu, sigma = torch.from_numpy(file["mu"]), file["sigma"]
    assert sigma.shape == (64, 64) and len(mu) == 64
    samples = torch.randn(100, 64, dtype=torch.float64)
    assert frechet_distance(samples, samples) == pytest.approx(0, abs=1e-6)


def test_refused_value_of_a_checkpoints_score_names_its_option(
    checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run("--checkpoint", checkpoint, "--num-samples", 0)
    assert capsys.readouterr().err.startswith("error: --num-samples: evaluation.num_samples is 0")


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--samples", "none.npz"], "'none.npz' is no file; allowed: a folder with a folder of"),
        (["--samples", ".", "--omega", "1"], "--omega says how a checkpoint draws; allowed with:"),
        (["--samples", ".", "--num-samples", "9"], "--num-samples says how a checkpoint draws"),
        (["--checkpoint", "x", "--dataset", "digits"], "--dataset came with --checkpoint"),
        (
            ["--samples", ".", "--reference-statistics", "x", "--reference", "heldout"],
            "--reference-statistics came with --reference.",
        ),
        (["--samples", ".", "--reference-statistics", "x.npz"], "holds folders of no class"),
    ],
)
def test_wrong_input_is_one_sentence(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    problem: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dog").mkdir()
    with pytest.raises(SystemExit) as left:
        run(*words)
    shown = capsys.readouterr().err
    assert left.value.code == 2 and problem in shown and len(shown.splitlines()) == 1
