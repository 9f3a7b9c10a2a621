"""What a launch says of the whole study, and what its trials say of their trainings."""

import dataclasses
import html
import json
import re
import statistics
from pathlib import Path

import pytest
import scipy.stats
from markdown_it import MarkdownIt
from mlflow import MlflowClient

from diffrop.record.confirmation import (
    ConfirmedBaseline,
    ConfirmedLeader,
    Look,
)
from diffrop.record.cost import CostRecord, PlannedCost, StudyCost
from diffrop.record.cost_account import CostAccount
from diffrop.record.json_files import write_record
from diffrop.record.study_folder import StudyFolder
from diffrop.record.trainings import TrainingSegment
from diffrop.storage import write_atomically
from diffrop.tracking.experiment import RETRAINING
from diffrop.tracking.notes import markdown_text
from diffrop.tracking.tracked_trial import TrackedTrial
from diffrop.tracking.views import saved_views
from tests.made.confirmations import confirmation_record
from tests.made.full_study import agreement
from tests.made.mlflow_study import (
    TIME,
    add_checkpoint,
    add_lines,
    add_score,
    history,
    make_full_trial,
    make_tracker,
    make_trial,
    runs_of,
    study_of,
)
from tests.made.plans import PROBE


def with_training(trial: TrackedTrial) -> TrackedTrial:
    """The trial with a training of two segments, as the study's account counts them."""
    card = {"key": trial.training.key, "parent": "bb22-64"}
    write_record(trial.training.identity_path, card)
    for begin, end, seconds in ((0, 64, 30.0), (64, 192, 60.0)):
        segment = TrainingSegment(begin, end, seconds, workers=1, gpus=2, time=TIME + end)
        trial.training.add_segment(segment)
    return with_costs(trial)


def with_costs(trial: TrackedTrial) -> TrackedTrial:
    """The trial with what the study's account counts at it by now."""
    account = CostAccount(StudyFolder(trial.folder.path.parents[1]))
    account.add(trial.folder, "trial")
    return dataclasses.replace(trial, costs=tuple(account.of_folder(trial.folder)))


def test_costs_add_up_and_lineage_is_described(uri: str, tmp_path: Path) -> None:
    tracker = make_tracker(uri, tmp_path)
    running = make_trial(tmp_path)
    add_lines(running)
    add_score(running, 64, few=90.0, final=False)
    running = with_training(running)
    tracker.sync(running)
    add_score(running, 192, few=60.0)
    add_checkpoint(running, 192)
    tracker.sync(dataclasses.replace(with_costs(running), state="COMPLETE"))
    assert tracker.close("FINISHED") == []
    run = runs_of(uri)[1]["7"]

    def logged(key: str) -> list[float]:
        values = dict.fromkeys(value for _, _, value in history(uri, run, f"time/{key}"))
        assert run.data.metrics[f"time/{key}"] == max(values)  # of bars: all that it took so far
        return list(values)

    assert logged("training_s") == [30.0, 90.0]
    assert logged("gpu_hours")[-1] == pytest.approx(90 * 2 / 3600)
    assert logged("scoring_s") == [12.0, 24.0]
    note = run.data.tags["mlflow.note.content"]
    assert f"training {running.training.key}, from checkpoint bb22-64" in note


def test_trial_has_only_its_own_rows_of_a_training_that_it_shares(
    uri: str, tmp_path: Path
) -> None:
    trial = make_trial(tmp_path, state="PRUNED", log_every_images=64, until=128)
    add_lines(trial, count=6)
    other = {"images_seen": 96, "time": TIME, "log_every_images": 32, "loss/ddpm": 7.0}
    trial.training.add_curve_row(other)  # of another study, which logs more often
    add_score(trial, 128, few=90.0, final=False)
    tracker = make_tracker(uri, tmp_path)
    tracker.sync(trial)
    run = runs_of(uri)[1]["7"]
    assert [step for step, _, _ in history(uri, run, "loss/ddpm")] == [64, 128]
    assert "log_every_images" not in run.data.metrics
    assert "fid/few" not in run.data.metrics and run.data.metrics["fid_by_rung/few"] == 90.0


def test_retrainings_of_a_trial_are_folded_away_below_one_run(uri: str, tmp_path: Path) -> None:
    tracker = make_tracker(uri, tmp_path)
    tracker.sync(make_full_trial(tmp_path, 7))
    retraining = make_full_trial(tmp_path, 7, name="t007-s1 reciprocal", seed=1)
    tracker.sync(retraining)
    assert tracker.close("FINISHED") == []
    later = make_tracker(uri, tmp_path, launch="launch-2")
    later.sync(retraining)
    others, children = runs_of(uri)
    assert list(children) == ["7"]
    tags = {run.info.run_name: run.data.tags.get(RETRAINING) for run in others}
    together = "t007 reciprocal, fresh seeds"
    seeds = {"t007-s1 reciprocal": "t007-s1"}
    assert tags == {"launch-1": None, "launch-2": None, together: None} | seeds
    runs = {run.info.run_name: run for run in others}
    parents = {name: run.data.tags.get("mlflow.parentRunId") for name, run in runs.items()}
    assert parents.pop("t007-s1 reciprocal") == runs[together].info.run_id
    assert set(parents.values()) == {None}


def test_seeds_of_a_confirmation_are_one_row_with_mean_and_interval(
    uri: str, tmp_path: Path
) -> None:
    tracker, few = make_tracker(uri, tmp_path), {1: 60.0, 2: 50.0, 3: 55.0, 4: 51.0}
    name = "t003-s{} hinge"
    for seed, value in few.items():
        tracker.sync(make_trial(tmp_path, 3, name=name.format(seed), seed=seed))
        runs = {run.info.run_name: run for run in runs_of(uri)[0]}
        assert runs["t003 hinge, fresh seeds"].info.status == "RUNNING"
        tracker.sync(make_full_trial(tmp_path, 3, value, name=name.format(seed), seed=seed))
    folder = study_of(tmp_path)
    write_record(folder.confirmation, dataclasses.replace(CONFIRMATION, max_seeds=4))
    tracker.log_study(folder)
    assert tracker.close("FINISHED") == []
    [row] = [run for run in runs_of(uri)[0] if run.info.run_name == "t003 hinge, fresh seeds"]
    assert row.info.status == "FINISHED" and row.data.params["contrastive.tau_0"] == "3.2"
    assert row.data.metrics["fid/few"] == pytest.approx(statistics.mean(few.values()))
    for key, ends in {"": (-1.5, -1.5), "_low": (-4.0, -3.0), "_high": (0.0, 1.0)}.items():
        looks = [look[::2] for look in history(uri, row, f"fid_difference/all{key}")]
        assert looks == [(3, ends[0]), (4, ends[1])]
    note = row.data.tags["mlflow.note.content"].replace("\\", "")
    interval = scipy.stats.t.interval(
        0.95, 3, statistics.mean(few.values()), scipy.stats.sem(list(few.values()))
    )
    assert f"{statistics.mean(few.values()):.4g} [{interval[0]:.4g}, {interval[1]:.4g}]" in note
    assert "t003 is better" in note and "| seed 4 | 40 |" in note


def test_difference_of_a_single_look_is_a_bar(uri: str, tmp_path: Path) -> None:
    tracker = make_tracker(uri, tmp_path)
    tracker.sync(make_full_trial(tmp_path, 3, name="t003-s1 hinge", seed=1))
    write_record(study_of(tmp_path).confirmation, CONFIRMATION)
    tracker.log_study(study_of(tmp_path))
    [row] = [run for run in runs_of(uri)[0] if run.info.run_name.endswith("fresh seeds")]
    assert [look[::2] for look in history(uri, row, "fid_difference/all")] == [(0, -1.5)]
    assert "fid_difference/all_high" not in row.data.metrics  # the record does not know it


COST = CostRecord(
    began=TIME,
    plan=PlannedCost(
        rungs=(),
        trials=8,
        gpu_hours=2.0,
        worker_hours=None,
        wall_s=7200.0,
        samples=9_000,
        images=30_000,
        disk_mib=12,
        units=1,
        at_once=1,
        placement="",
        probe=PROBE,
    ),
    actual=StudyCost(
        rungs=(),
        trials=8,
        gpu_hours=2.5,
        worker_hours=None,
        wall_s=9000.0,
        samples=9_000,
        images=30_000,
        disk_mib=12,
    ),
)
CONFIRMATION = confirmation_record(
    seeds=(101,),
    sample_seeds=(201,),
    omega={"t000": 0.5, "t003": 0.5},
    sampler={"t000": "ddim-10", "t003": "ddim-10"},
    num_seeds=1,
    max_seeds=1,
    num_samples=1000,
    leaders=(
        ConfirmedLeader(
            trial=3,
            name="t003 hinge",
            objectives={},
            mean=-1.5,
            low=-2.0,
            high=None,
            looks=tuple(
                Look(num_seeds=seeds, mean=-1.5, low=low, high=low + 4, level=0.01)
                for seeds, low in ((3, -4.0), (4, -3.0))
            ),
        ),
    ),
    baseline=ConfirmedBaseline(values=(46.0,)),
    num_trials=8,
    finding="t003 is better",
    conclusion="t003 is better",
)


def test_launch_has_costs_agreement_confirmation_and_conclusions(uri: str, tmp_path: Path) -> None:
    folder = study_of(tmp_path)
    write_record(folder.cost, COST)
    record = agreement(num_trials=12)
    write_record(folder.rung_agreement, record)
    write_record(folder.confirmation, CONFIRMATION)
    tracker = make_tracker(uri, tmp_path)
    tracker.log_study(folder)
    assert tracker.close("FINISHED") == []
    [parent], _ = runs_of(uri)
    assert parent.data.metrics == {}  # its bars would stand beside the trials'
    page = MarkdownIt("commonmark").enable("table")
    shown = page.render(parent.data.tags["mlflow.note.content"])
    assert "t003 is better" in shown and html.escape(record.conclusion) in shown
    cells = re.findall(r"<td[^>]*>(.*?)</td>", shown)
    assert cells[cells.index("GPU-hours") :][1:3] == ["2", "2.5"]
    client = MlflowClient(uri)
    assert [item.path for item in client.list_artifacts(parent.info.run_id)] == ["record"]
    found = {item.path for item in client.list_artifacts(parent.info.run_id, "record")}
    assert found == {f"record/{name}" for name in ("plan.json", "fidelity.json", "confirm.json")}


def test_description_shows_names_as_they_are(uri: str, tmp_path: Path) -> None:
    """MLflow's UI takes it for Markdown; a trial's name has the values of its parameters."""
    odd = "t003 <b>x</b> [a](http://b) ![c](d) `e` *f* _g_ ~~h~~ a|b &lt; \\* is better"
    folder = study_of(tmp_path)
    write_record(folder.confirmation, dataclasses.replace(CONFIRMATION, conclusion=odd))
    tracker = make_tracker(uri, tmp_path)
    tracker.log_study(folder)
    assert tracker.close("FINISHED") == []
    [parent], _ = runs_of(uri)
    page = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    rendered = page.render(parent.data.tags["mlflow.note.content"])
    assert rendered == f"<p><strong>Confirmation</strong>: {html.escape(odd)}</p>\n"


def test_torn_result_is_named_and_its_file_is_logged_all_the_same(
    uri: str, tmp_path: Path
) -> None:
    folder = study_of(tmp_path)
    write_atomically(folder.confirmation, '{"leaders": [')
    tracker = make_tracker(uri, tmp_path)
    with pytest.warns(UserWarning, match=r"cannot read .*confirm\.json"):
        tracker.log_study(folder)
        [sentence] = tracker.close("FINISHED")
    assert sentence.startswith("the study's summary is not completely in MLflow")
    [parent], _ = runs_of(uri)
    assert MlflowClient(uri).list_artifacts(parent.info.run_id, "record")[0].path == (
        "record/confirm.json"
    )


def test_only_what_is_new_of_a_study_is_uploaded(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uploaded: list[str] = []
    upload = MlflowClient.log_artifacts

    def counted(client: MlflowClient, run_id: str, folder: str, place: str) -> None:
        uploaded.extend(path.name for path in Path(folder).iterdir())
        upload(client, run_id, folder, place)

    monkeypatch.setattr(MlflowClient, "log_artifacts", counted)
    folder, tracker = study_of(tmp_path), make_tracker(uri, tmp_path)
    for path in (folder.config, folder.trials_table):
        write_atomically(path, "number\n")
        tracker.log_study(folder)
        tracker.log_study(folder)
    assert uploaded == ["study.yaml", "trials.csv"]


def test_ended_trial_is_left_alone_until_the_end(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker, trial = make_tracker(uri, tmp_path), make_full_trial(tmp_path)
    tracker.sync(trial)
    looks: list[int] = []
    mark = TrackedTrial.mark

    def counted(trial: TrackedTrial) -> str:
        looks.append(trial.number)
        return mark(trial)

    monkeypatch.setattr(TrackedTrial, "mark", counted)
    for _ in range(3):
        tracker.sync(trial)
    assert looks == []
    add_score(trial, 256, few=33.0)  # its worker wrote on while it was stopped
    assert tracker.close("FINISHED") == []
    assert looks == [7] and runs_of(uri)[1]["7"].data.metrics["fid_by_rung/few"] == 33.0


def test_views_name_the_objective_and_what_was_searched(uri: str, tmp_path: Path) -> None:
    tags = saved_views(["fid/few", "accuracy/all"], ["contrastive.tau_0"])
    make_tracker(uri, tmp_path, experiment_tags=tags)
    found = MlflowClient(uri).get_experiment_by_name("study")
    assert found is not None and tags.items() <= found.tags.items()
    view = json.loads(tags["mlflow.sharedViewState.trials"])
    state = json.loads(view["state"])
    assert state["orderByKey"] == "metrics.`fid/few`"
    assert {"metrics.`accuracy/all`", "params.`contrastive.tau_0`"} <= set(
        state["selectedColumns"]
    )
    assert all(len(value) < 5_000 for value in tags.values())  # MLflow's limit


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script> <img src=x onerror=y>",
        "[fid](http://example.org) ![a](b) <http://example.org> [bold]",
        "*a* __b__ `c` ~~d~~ | e | f",
        "&lt;b&gt; &amp; \\* \\\\",
        "# not a heading",
        "t003 hinge tau_0=0.3: -1.5 [-2.1, -0.9], lower is better",
    ],
)
def test_description_of_a_run_shows_a_text_as_it_is(text: str) -> None:
    """Read by a Markdown library: one paragraph of text alone, which is the text itself."""
    opened, inline, closed = MarkdownIt("commonmark", {"html": True}).parse(markdown_text(text))
    assert (opened.type, closed.type) == ("paragraph_open", "paragraph_close")
    assert {child.type for child in inline.children or ()} == {"text"}
    assert "".join(child.content for child in inline.children or ()) == text
