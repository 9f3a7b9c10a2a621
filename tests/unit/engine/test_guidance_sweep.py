import dataclasses
import io
from pathlib import Path

import pandas as pd
import pytest
import torch
from rich.console import Console

from diffrop.analysis.figures.guidance_sweep import guidance_sweep_figure, write_guidance_sweep
from diffrop.analysis.figures.style import form_style
from diffrop.checkpoint_file import Checkpoint, read_checkpoint, write_checkpoint
from diffrop.data import load_dataset
from diffrop.engine.guidance_sweep import (
    newest_study,
    ranked_trials,
    ready_to_sample,
    score_choices,
    study_checkpoints,
    sweep_tables,
)
from diffrop.errors import CheckpointError
from diffrop.training.trainer import Trainer
from tests.made.commands import command
from tests.made.small import pixel_extractor, small_experiment

CPU = torch.device("cpu")
CHANGES = {
    "evaluation.guidance_scales": [0.0, 1.0],
    "evaluation.samplers": ["ddim-2", "ddim-3"],
    "evaluation.ema_lengths": [None, 0.1],
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("checkpoints")
    config = small_experiment(training__ema_lengths=[0.1])
    trainer = Trainer(config, load_dataset(config.data), CPU)
    for _ in range(2):
        trainer.step()
        path = folder / f"images_{trainer.images_seen:012d}.safetensors"
        write_checkpoint(path, trainer.checkpoint())
    return {path.stem[-2:]: path for path in sorted(folder.iterdir())}


@pytest.fixture(autouse=True)
def cheap_features(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "diffrop.engine.guidance_sweep.make_extractor", lambda *_, **__: pixel_extractor()
    )


def study_of(folder: Path, files: dict[str, Path], ranks: str = ",2,1") -> Path:
    """A study of three trials whose numbers have the given ranks."""
    folder.mkdir(parents=True)
    lines = [f"{n},t{n:03d} form,{rank},32" for n, rank in enumerate(ranks.split(","))]
    head = "number,name,rank,images_seen"
    (folder / "trials.csv").write_text("\n".join([head, *lines, f"{len(lines)},t,,"]) + "\n")
    for number in range(len(lines)):
        place = folder / f"trials/t{number:03d}"
        place.mkdir(parents=True)
        (place / "training").symlink_to(next(iter(files.values())).parent)
    return folder


def test_every_choice_of_every_checkpoint_is_scored_with_its_interval(
    files: dict[str, Path], tmp_path: Path
) -> None:
    told: list[tuple[str, float | None]] = []
    swept, inputs = ready_to_sample(files, CHANGES, tmp_path, CPU)
    frame = score_choices(swept, inputs, lambda *what: told.append(what))
    assert [share for _, share in told] == [done / 16 for done in range(16)]
    assert told[0][0] == "scoring: ddim-2, omega 0, choice 1 of 16"
    samplers = {"ddim-2", "ddim-2-ema-0.1", "ddim-3", "ddim-3-ema-0.1"}
    assert set(frame["sampler"]) == samplers and set(frame["checkpoint"]) == set(files)
    assert len(frame) == 16 * 4 and sorted(set(frame["images_seen"])) == [32, 64]
    assert (frame["low"] < frame["value"]).all() and (frame["value"] < frame["high"]).all()
    assert set(frame.loc[frame["score"] == "fid/few", "num_samples"]) == {12}
    again = score_choices(swept, inputs)
    pd.testing.assert_frame_equal(frame, again)


def test_intervals_of_guidance_are_swept(files: dict[str, Path], tmp_path: Path) -> None:
    changes = CHANGES | {
        "evaluation.samplers": [],
        "evaluation.ema_lengths": [],
        "evaluation.guidance_intervals": [[0, 1], [0.5, 1]],
    }
    swept, inputs = ready_to_sample({"32": files["32"]}, changes, tmp_path, CPU)
    frame = score_choices(swept, inputs)
    found = frame[["omega", "sampler", "evaluations"]].drop_duplicates()
    assert found.to_numpy().tolist() == [
        [0, "ddim-2", 2],
        [1, "ddim-2", 4],
        [1, "ddim-2-guided-0.5-1", 3],
    ]
    assert list(sweep_tables(frame)) == ["32, ddim-2", "32, ddim-2-guided-0.5-1"]


def test_guides_are_swept_and_one_that_is_gone_is_refused(
    files: dict[str, Path], tmp_path: Path
) -> None:
    changes = {
        "evaluation.guidance_scales": [0.0, 1.0],
        "evaluation.samplers": ["ddim-2"],
        "evaluation.guides": [None, 0.5],
    }
    swept, inputs = ready_to_sample({"64": files["64"]}, changes, tmp_path, CPU)
    frame = score_choices(swept, inputs)
    frame = frame[frame["score"] == "fid/all"]
    found = frame[["omega", "sampler", "evaluations"]]
    assert found.to_numpy().tolist() == [
        [0, "ddim-2", 2],
        [1, "ddim-2", 4],
        [1, "ddim-2-guide-0.5", 4],
    ]
    assert len(set(frame["value"])) == 3
    own = {"64": files["64"], "32": files["32"]}  # the one of a single batch guides itself
    (_, alone), _ = ready_to_sample(own, changes, tmp_path, CPU)
    values = score_choices([alone], inputs).query("score == 'fid/all'")["value"].tolist()
    assert values[0] == values[2]
    copied = tmp_path / "elsewhere" / files["64"].name
    write_checkpoint(copied, read_checkpoint(files["64"]))
    with pytest.raises(
        ValueError, match=r"guide is 0\.5, the checkpoint at 32 images, .*; allowed"
    ):
        ready_to_sample({"64": copied}, changes, tmp_path, CPU)


def test_table_fits_80_columns_and_the_figure_has_a_panel_a_score(
    files: dict[str, Path], tmp_path: Path
) -> None:
    swept, inputs = ready_to_sample(files, CHANGES, tmp_path, CPU)
    frame = score_choices(swept[:1], inputs)
    frame["value"], frame["low"], frame["high"] = 486.18, 400.0, 560.0
    console = Console(width=80, file=io.StringIO())
    tables = sweep_tables(frame)
    assert list(tables) == [f"32, {name}" for name in dict.fromkeys(frame["sampler"])]
    console.print(*tables.values())
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "486.18 +-80.00*" in text and max(map(len, text.splitlines())) <= 80
    figure = guidance_sweep_figure(frame)
    assert [axes.get_label() for axes in figure.axes] == [
        "fid/all",
        "fid/many",
        "fid/medium",
        "fid/few",
    ]
    assert all(len(axes.lines) == 4 for axes in figure.axes)
    style = form_style(str(frame["form"].iloc[0]))
    assert {line.get_color() for line in figure.axes[0].lines} == {style.colour}
    assert {line.get_linestyle() for line in figure.axes[0].lines} == {"-", "--", ":", "-."}
    written = write_guidance_sweep(frame, tmp_path / "g")
    assert [path.suffix for path in written] == [".csv", ".png", ".svg"]
    assert len(pd.read_csv(written[0])) == len(frame)


def test_study_gives_the_baseline_and_the_best_other_trial(
    files: dict[str, Path], tmp_path: Path
) -> None:
    study = study_of(tmp_path / "runs/s", files, ranks="3,,2,1")
    assert ranked_trials(study) == [3, 2, 0]
    assert list(study_checkpoints(study)) == ["t000 form", "t003 form"]
    found = study_checkpoints(study, [2])
    scored = files["32"]  # another study has trained the same on, to 64 images
    assert found["t002 form"].resolve() == scored.resolve()
    assert newest_study(tmp_path / "runs") == study


def test_what_is_missing_is_named(files: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no study with results in .*allowed: --study NAME"):
        newest_study(tmp_path)
    study = study_of(tmp_path / "s", files)
    with pytest.raises(ValueError, match="trial is 7; allowed: 0, 1, 2, 3"):
        study_checkpoints(study, [7])
    (study / "trials/t001/training").unlink()
    with pytest.raises(CheckpointError, match=r"images_0+32\.\S+, which was .* gone"):
        study_checkpoints(study, [1])
    with pytest.raises(ValueError, match="t003 holds no score"):
        study_checkpoints(study, [3])
    with pytest.raises(ValueError, match=r"holds no trials.csv; allowed: the folder of a study"):
        study_checkpoints(tmp_path, None)
    with pytest.raises(ValueError, match=r"evaluation\.ema_lengths is 0.2"):
        ready_to_sample(files, {"evaluation.ema_lengths": [0.2]}, tmp_path, CPU)


def test_checkpoints_that_do_not_compare_are_refused(
    files: dict[str, Path], tmp_path: Path
) -> None:
    known = read_checkpoint(files["32"])
    other = known.card | {"data_digest": "another"}
    write_checkpoint(tmp_path / "other.safetensors", dataclasses.replace(known, card=other))
    gan = Checkpoint({"x": torch.zeros(1)}, {"gan": {}})
    write_checkpoint(tmp_path / "gan.safetensors", gan)
    for name, message in (("other", "trained on other images"), ("gan", "is a GAN's")):
        with pytest.raises(ValueError, match=message):
            ready_to_sample({**files, name: tmp_path / f"{name}.safetensors"}, {}, tmp_path, CPU)


def test_refused_value_names_its_option(
    files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (path, *_) = files.values()
    words = ["--checkpoint", str(path), "--num-samples", "0", "--runs-root", str(tmp_path)]
    with pytest.raises(SystemExit):
        command("run_guidance_sweep")(words)
    assert capsys.readouterr().err.startswith("error: --num-samples: evaluation.num_samples is 0")
