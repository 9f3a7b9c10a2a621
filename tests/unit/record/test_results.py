import dataclasses
import io
import json
import shutil
import warnings
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml
from optuna.trial import TrialState
from rich.console import Console

from diffrop.checkpoint_file import Checkpoint, write_checkpoint
from diffrop.config import ExperimentConfig
from diffrop.console.results import metrics_table, protocol, remarks, results_table
from diffrop.engine.result_files import write_results
from diffrop.errors import StorageError
from diffrop.metrics.intervals import influence_interval
from diffrop.record.exported_config import load_export
from diffrop.record.results import ResultReader, StudyResult
from diffrop.record.score_card import ScoreCard
from diffrop.record.study_store import StudyStore
from diffrop.record.trainings import TrainingSegment
from diffrop.record.trial_folder import TRAINING_NOTE, influence_path
from diffrop.scoring.paired_differences import with_differences
from diffrop.storage import RemoteMirror, write_atomically
from diffrop.study.config import LaunchConfig
from diffrop.training.store import CheckpointStore
from tests.made.small import small_study


def card(
    value: float, images: int = 128, final: bool = True, reference: str = "full training set"
) -> ScoreCard:
    scores = {f"fid/{group}": value + i for i, group in enumerate(("all", "many", "few"))}
    row = {"omega": 1.0, "sampler": "ddim-2", "num_samples": 40, "scores": scores}
    return ScoreCard(
        images_seen=images,
        time=0.0,
        objectives=["fid/all"],
        values=[value],
        omega=1.0,
        sampler="ddim-2",
        extractor="pixels",
        reference=reference,
        num_samples={"all": 40, "many": 12, "few": 12},
        num_reference={"all": 70},
        final=final,
        curve=[row],
        class_scores={},
        samples_drawn=40,
        seconds={},
        intervals={"fid/all": {"low": value - 3, "high": value + 3}},
    )


def influence(number: int) -> dict[str, torch.Tensor]:
    """Large in every trial, with a small part of its own: what is shared drops out."""
    rng = torch.Generator().manual_seed(0)
    shared = 100 * torch.randn(40, generator=rng)
    own = torch.randn(40, generator=torch.Generator().manual_seed(1 + number))
    return {"fid/all": shared + own, "labels/all": torch.arange(40) % 10}


@pytest.fixture
def finished(tmp_path: Path) -> tuple[StudyStore, StudyResult]:
    """Baseline 50, a better hinge 40, a pruned one that looks best, a failed one."""
    config = small_study(num_trials=4)
    store = StudyStore(tmp_path, config.name)
    study = store.create(config, "command", LaunchConfig(), {})
    asked = [study.ask()]
    hinge = {
        "contrastive.form": "hinge",
        "contrastive.tau_0": 3.25,
        "contrastive.decay_temperature": 0.2,
        "contrastive.margin": 1.01,
    }
    for _ in range(3):
        study.enqueue_trial(hinge)
        asked.append(study.ask())
        config.space.suggest(asked[-1])
    done = "COMPLETE"
    ends = [(50.0, 128, done), (40.0, 128, done), (1.0, 64, "PRUNED"), (9.0, 0, "FAIL")]
    for number, (value, images, state) in enumerate(ends):
        if images:
            path = store.folder.trial(number).path / "scores" / f"images_{images:012d}.json"
            write_atomically(path, json.dumps(card(value, images).to_dict()))
            write_checkpoint(path.with_suffix(".safetensors"), Checkpoint(influence(number), {}))
            asked[number].report(value, images)
            score = {"values": [value], "num_samples": 40}
            asked[number].set_user_attr("rungs", {str(images): score})
        study.tell(number, value if state == "COMPLETE" else None, state=TrialState[state])
    return store, ResultReader(study, store, config).read()


def test_scores_that_another_node_wrote_are_fetched_once_the_storage_is_back(
    tmp_path: Path, finished: tuple[StudyStore, StudyResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, result = finished
    mirror = RemoteMirror((tmp_path / "remote").as_uri(), store.path.parent)
    trials = store.path / "trials"
    mirror.push(trials)
    shutil.rmtree(trials)
    config = result.config
    checkpoints = CheckpointStore(store.path.parent / "checkpoints", mirror)
    reader = ResultReader(store.open(LaunchConfig(resume=True)), store, config, checkpoints)

    def out_of_reach(mirror: RemoteMirror, path: Path, skip: str | None = None) -> list[Path]:
        raise StorageError("out of reach")

    with monkeypatch.context() as patch, pytest.warns(UserWarning, match="out of reach"):
        patch.setattr(RemoteMirror, "pull", out_of_reach)
        assert reader.read().ranked == []
    assert [trial.number for trial in reader.read().ranked] == [1, 0]


def test_cost_of_a_trial_that_failed_before_its_first_score_is_counted(tmp_path: Path) -> None:
    config = small_study(num_trials=2)
    store = StudyStore(tmp_path, config.name)
    study = store.create(config, "command", LaunchConfig(), {})
    study.ask()
    key = "0" * 32
    folder = CheckpointStore(tmp_path / "checkpoints").folder(key)
    folder.path.mkdir(parents=True)
    folder.add_segment(TrainingSegment(0, 48, 7.5, 1, 0.0, 1.0))
    write_atomically(store.folder.trial(0).path / TRAINING_NOTE, key)
    study.tell(0, state=TrialState.FAIL)
    (failed,) = ResultReader(study, store, config).read().trials
    assert failed.training_s == 7.5


def test_trials_that_ended_are_read_from_disk_once(
    finished: tuple[StudyStore, StudyResult],
) -> None:
    store, result = finished
    study = store.open(LaunchConfig(resume=True))
    reader = ResultReader(study, store, result.config)
    first = reader.read().trials
    shutil.rmtree(store.path / "trials")
    assert first == reader.read().trials == result.trials
    assert all(trial.card is not None for trial in first[:3])


def test_only_complete_trials_are_ranked(finished: tuple[StudyStore, StudyResult]) -> None:
    _, result = finished
    assert [trial.number for trial in result.ranked] == [1, 0]
    assert [trial.rank for trial in result.trials] == [2, 1, None, None]
    assert result.trials[1].name == "t001 hinge tau_0=3.25"


def test_table_fits_80_columns_and_shows_no_fid_of_a_pruned_trial(
    finished: tuple[StudyStore, StudyResult],
) -> None:
    console = Console(width=80, record=True, quiet=False, file=io.StringIO())
    console.print(results_table(finished[1]))
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= 80
    assert "…" not in "".join(lines)
    assert lines[1].split()[:7] == ["1", "hinge", "3.25", "0.2", "1.01", "1", "40.00"]
    assert lines[2].split()[:2] == ["2", "baseline"]
    assert lines[3].split() == ["hinge", "3.25", "0.2", "1.01", *"-----", "PRUNED", "64"]
    assert lines[4].split()[-1] == "FAIL"
    assert "N = 40 over all classes, N = 12 per shot group" in protocol(finished[1])
    assert any("cannot be compared" in line for line in remarks(finished[1]))


def test_csv_and_export_hold_what_was_found(finished: tuple[StudyStore, StudyResult]) -> None:
    store, result = finished
    write_results(result, store)
    frame = pd.read_csv(store.path / "trials.csv")
    assert frame["state"].tolist() == ["COMPLETE", "COMPLETE", "PRUNED", "FAIL"]
    assert frame.loc[1, "fid/few"] == 42.0
    assert frame.loc[2, "images_seen"] == 64
    content = yaml.safe_load((store.path / "best.yaml").read_text())
    assert content["omega"] == 1.0
    provenance = content["provenance"]
    assert (provenance["trial"], provenance["value"], provenance["baseline_value"]) == (1, 40, 50)
    assert provenance["num_samples"] == {"all": 40, "many": 12, "few": 12}
    assert {"git_commit", "versions", "seeds", "sampler", "extractor"} <= provenance.keys()
    exported = ExperimentConfig.from_dict(content["config"])
    assert exported.contrastive.margin == 1.01
    final = load_export(store.path / "best.yaml")
    assert final.evaluation.guidance_scales == (1.0,)
    assert final.contrastive == exported.contrastive


@pytest.mark.parametrize(
    ("constraint", "said"),
    [
        ("fid/many <= 41", "1 of 2 ranked trials keep fid/many <= 41."),
        ("fid/many <= 5", "0 of 2 ranked trials keep fid/many <= 5. First is the one that"),
        ("fid/many <= baseline + 5%", "2 of 2 ranked trials keep fid/many <= baseline + 5%."),
    ],
)
def test_terminal_and_export_say_whether_trials_keep_the_constraints(
    finished: tuple[StudyStore, StudyResult], constraint: str, said: str
) -> None:
    store, result = finished
    values = {"evaluation.constraints": [constraint]}
    config = dataclasses.replace(
        result.config, experiment=result.config.experiment.with_values(values)
    )
    study = store.open(LaunchConfig(resume=True))
    found = ResultReader(study, store, config).read()
    assert any(line.startswith(said) for line in remarks(found))
    write_results(found, store)
    provenance = yaml.safe_load((store.path / "best.yaml").read_text())["provenance"]
    assert provenance["constraints"] == [constraint]
    assert provenance["feasible"] is not said.startswith("0")


def test_constraint_against_a_baseline_without_a_score_cannot_be_told(
    finished: tuple[StudyStore, StudyResult],
) -> None:
    store, result = finished
    values = {"evaluation.constraints": ["fid/many <= baseline + 5%"]}
    config = dataclasses.replace(
        result.config, experiment=result.config.experiment.with_values(values)
    )
    shutil.rmtree(store.folder.trial(0).path / "scores")
    found = ResultReader(store.open(LaunchConfig(resume=True)), store, config).read()
    assert any("is unknown: the baseline has no full score" in line for line in remarks(found))


def test_differences_to_the_baseline_are_paired_and_shown(
    finished: tuple[StudyStore, StudyResult],
) -> None:
    store, result = finished[0], with_differences(finished[1])
    found = result.differences[1]
    assert list(result.differences) == [1] and found.value == -10
    labels = influence(0)["labels/all"]
    own = influence(1)["fid/all"] - influence(0)["fid/all"]
    expected = influence_interval(-10, own, labels)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-4)
    assert found.high - found.low < 4  # and not about 60
    text = " ".join(remarks(result))
    assert "The baseline's fid/all is 50.00, [47.00, 53.00]" in text
    assert "t001 hinge tau_0=3.25 less the baseline: -10.00 [-10." in text
    write_results(result, store)
    frame = pd.read_csv(store.path / "trials.csv")
    assert frame["difference_value"].notna().tolist() == [False, True, False, False]
    exported = yaml.safe_load((store.path / "best.yaml").read_text())["provenance"]
    assert exported["difference"]["high"] == pytest.approx(found.high)


def test_trial_without_its_samples_influence_has_no_difference(
    finished: tuple[StudyStore, StudyResult],
) -> None:
    store, result = finished
    path = influence_path(store.folder.trial(1).path)
    assert path is not None
    path.write_bytes(b"damaged")
    assert with_differences(result).differences == {}
    path.unlink()
    assert with_differences(result).differences == {}


def test_trials_of_unequal_protocols_are_not_compared(
    finished: tuple[StudyStore, StudyResult],
) -> None:
    result = finished[1]
    other = dataclasses.replace(result.trials[1], card=card(40.0, reference="test images"))
    trials = [result.trials[0], other, *result.trials[2:]]
    found = with_differences(dataclasses.replace(result, trials=trials))
    assert found.differences == {}


def test_every_metric_of_a_card_fits_80_columns() -> None:
    found = card(37.4069)
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(metrics_table(found))
    lines = console.export_text().splitlines()
    assert lines[0].split() == ["metric", "all", "many", "medium", "few"]
    assert lines[1].split() == ["fid", "37.41", "+-3", "38.41", "-", "39.41"]
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize(
    ("fork_from", "images", "went_on_from"),
    [(None, 0, None), ("baseline@64", 64, None), ("/models/x.safetensors", 0, "/models/x")],
)
def test_export_of_a_fork_says_what_a_configuration_cannot(
    finished: tuple[StudyStore, StudyResult],
    fork_from: str | None,
    images: int,
    went_on_from: str | None,
) -> None:
    store, result = finished
    config = dataclasses.replace(result.config, fork_from=fork_from)
    write_results(dataclasses.replace(result, config=config), store)
    path = store.path / "best.yaml"
    if went_on_from is None:
        with warnings.catch_warnings(action="error"):
            final = load_export(path)
    else:
        with pytest.warns(UserWarning, match=f"went on from {went_on_from}"):
            final = load_export(path)
    assert final.contrastive.start_images == images


def test_file_that_is_no_export_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("config: {}")
    with pytest.raises(ValueError, match="no exported configuration"):
        load_export(tmp_path / "x.yaml")
