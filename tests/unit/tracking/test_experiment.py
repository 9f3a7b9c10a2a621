"""Studies of one name on one MLflow server are never mixed."""

import re
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from diffrop.storage import write_atomically
from diffrop.tracking.experiment import (
    CONFIRMED,
    LAUNCH,
    RETRAINING,
    STUDY,
    TRIAL,
    experiment_of,
    own_runs,
)
from diffrop.tracking.reader import download_study
from diffrop.tracking.tracked_trial import TrackedTrial
from diffrop.tracking.tracker import Tracker
from tests.made.faults import fault
from tests.made.mlflow_study import (
    TOKEN,
    add_lines,
    history,
    make_full_trial,
    make_tracker,
    make_trial,
    study_of,
)

OTHER = "ffff00001111"


def track(uri: str, root: Path, token: str, trial: TrackedTrial, **options: Any) -> None:
    """One launch with one trial."""
    write_atomically(study_of(root).config, token)
    tracker = make_tracker(uri, root, token=token, **options)
    tracker.sync(trial)
    tracker.log_study(study_of(root))
    assert tracker.close("FINISHED") == []


def runs_in(uri: str, experiment: str) -> list[Run]:
    client = MlflowClient(uri)
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    return list(client.search_runs([found.experiment_id]))


@fault(36, "a name used again from another folder")
def test_name_used_again_gets_an_experiment_of_its_own(uri: str, tmp_path: Path) -> None:
    """Another folder, another person: parameters, curves and scores of each stay its own."""
    first = make_full_trial(tmp_path / "first", params={"training.learning_rate": 1e-4})
    second = make_full_trial(tmp_path / "second", params={"training.learning_rate": 5e-2}, few=9.0)
    add_lines(second, start=3, count=2)
    track(uri, tmp_path / "first", TOKEN, first)
    with pytest.warns(UserWarning, match=f"keeps this 'study' apart .* 'study@{OTHER}'"):
        track(uri, tmp_path / "second", OTHER, second)
    track(uri, tmp_path / "first", TOKEN, first, launch="launch-2")

    expected = {
        "study": (TOKEN, "0.0001", 60.0, 3, 3),
        f"study@{OTHER}": (OTHER, "0.05", 9.0, 5, 2),
    }
    for experiment, (token, rate, few, rows, num_runs) in expected.items():
        runs = runs_in(uri, experiment)
        assert [run.data.tags[STUDY] for run in runs] == [token] * num_runs
        [trial] = [run for run in runs if TRIAL in run.data.tags]
        assert trial.data.params["training.learning_rate"] == rate
        assert [value for _, _, value in history(uri, trial, "fid/few")] == [few]
        assert len(history(uri, trial, "loss/ddpm")) == rows


@pytest.mark.filterwarnings("ignore:MLflow at .* keeps this")
def test_reader_names_the_studies_of_one_name_and_takes_the_one_that_is_asked_for(
    uri: str, tmp_path: Path
) -> None:
    for token in (TOKEN, OTHER):
        track(uri, tmp_path / token, token, make_full_trial(tmp_path / token))
    with pytest.raises(ValueError) as caught:
        download_study(uri, "study", tmp_path / "copy")
    pattern = r"has 2 studies called 'study'; allowed: (study@\w+) \(.*, 1 trials\), (study@\w+)"
    found = re.search(pattern, str(caught.value))
    assert found and {found[1], found[2]} == {f"study@{TOKEN}", f"study@{OTHER}"}
    for token in (TOKEN, OTHER):
        copy = download_study(uri, f"study@{token}", tmp_path / f"copy-{token}")
        assert copy.path.name == "study" and copy.config.read_text() == token
    with pytest.raises(ValueError, match=f"there is no study 'study@1234' in .*study@{OTHER}"):
        download_study(uri, "study@1234", tmp_path / "copy")


def test_names_that_begin_alike_are_different_studies(uri: str, tmp_path: Path) -> None:
    names = {"a_b": "0" * 12, "aXb": "1" * 12, "a_b-2": "2" * 12}
    for name, token in names.items():
        root = tmp_path / name
        track(uri, root, token, make_full_trial(root), experiment=name)
    for name in names:
        found = download_study(uri, name, tmp_path / f"copy-{name}")
        assert found.path.name == name


def write_earlier_runs(uri: str, driver: str) -> dict[str, str]:
    """What an earlier version left of a study in MLflow: no tokens; run ids by trial."""
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("study")
    place = experiment.experiment_id if experiment else client.create_experiment("study")
    launch = {"diffrop.launch": f"launch-of-{driver}", "diffrop.driver": driver}
    parent = client.create_run(place, tags=launch).info.run_id
    made = {}
    for number in ("7", "8"):
        tags = {"mlflow.parentRunId": parent, "diffrop.trial": number, "driver": driver}
        made[number] = client.create_run(place, tags=tags).info.run_id
    return made


EARLIER_NAMES = {
    "study": "diffrop.study",
    "launch": "diffrop.launch",
    "trial": "diffrop.trial",
    "retraining": "diffrop.confirmation",
    "driver": "diffrop.driver",
    "synced": "diffrop.synced",
    "seed": "seed",
}
"""The tags that the UI showed, by the ends of their present names."""


def as_the_version_before(uri: str) -> None:
    """Give experiment and runs the tags that they had before, trials below their launch."""
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("study")
    assert experiment is not None
    client.delete_experiment_tag(experiment.experiment_id, STUDY)
    client.set_experiment_tag(experiment.experiment_id, "diffrop.study", TOKEN)
    runs = runs_in(uri, "study")
    [launch] = [run for run in runs if LAUNCH in run.data.tags]
    for run in runs:
        for end, name in EARLIER_NAMES.items():
            now = f"mlflow.diffrop.{end}"
            if now in run.data.tags:
                client.delete_tag(run.info.run_id, now)
                client.set_tag(run.info.run_id, name, run.data.tags[now])
        if CONFIRMED in run.data.tags:
            client.delete_run(run.info.run_id)
        elif run is not launch:
            client.set_tag(run.info.run_id, "mlflow.parentRunId", launch.info.run_id)


def test_study_with_the_tags_of_the_version_before_is_read_and_goes_on(
    uri: str, tmp_path: Path
) -> None:
    again = "t007-s1 reciprocal tau_0=3.2"
    trials = make_full_trial(tmp_path), make_full_trial(tmp_path, seed=1, name=again)
    tracker = make_tracker(uri, tmp_path)
    write_atomically(study_of(tmp_path).config, TOKEN)
    for trial in trials:
        tracker.sync(trial)
    tracker.log_study(study_of(tmp_path))
    assert tracker.close("FINISHED") == []
    as_the_version_before(uri)
    assert not any(TRIAL in run.data.tags for run in runs_in(uri, "study"))
    before = {run.info.run_name: run.info.run_id for run in runs_in(uri, "study")}
    copy = download_study(uri, "study", tmp_path / "copy")
    assert copy.trial(7).scores() and copy.retraining(7, 1).scores()

    later = make_tracker(uri, tmp_path, launch="launch-2")
    for trial in trials:
        later.sync(trial)
    assert later.close("FINISHED") == []
    runs = {run.info.run_name: run for run in runs_in(uri, "study")}
    assert {name: runs[name].info.run_id for name in before} == before
    assert runs.keys() - before.keys() == {"launch-2", f"{trials[0].name}, fresh seeds"}
    for run in runs.values():
        assert not [name for name in run.data.tags if name.startswith("diffrop.")]
        assert "seed" not in run.data.tags
        parent = run.data.tags.get("mlflow.parentRunId")
        together = runs[f"{trials[0].name}, fresh seeds"].info.run_id
        assert parent == (together if RETRAINING in run.data.tags else None)
    found = MlflowClient(uri).get_experiment_by_name("study")
    assert found is not None and "diffrop.study" not in found.tags


def trial_runs(uri: str, tracker_token: str) -> dict[str, str]:
    client = MlflowClient(uri)
    experiment = experiment_of(client, "study", tracker_token)
    runs = own_runs(client, experiment.experiment_id, tracker_token)
    return {run.data.tags[TRIAL]: run.info.run_id for run in runs if TRIAL in run.data.tags}


def test_study_of_an_earlier_version_goes_on_with_its_own_runs_alone(
    uri: str, tmp_path: Path
) -> None:
    ours, theirs = write_earlier_runs(uri, "host-1-abc"), write_earlier_runs(uri, "host-1-def")
    track(uri, tmp_path, TOKEN, make_full_trial(tmp_path), known_drivers={"host-1-abc"})
    assert trial_runs(uri, TOKEN) == ours
    client = MlflowClient(uri)
    assert client.get_run(ours["7"]).info.status == "FINISHED"
    for run_id in theirs.values():
        run = client.get_run(run_id)
        assert STUDY not in run.data.tags and run.info.status == "RUNNING"
        assert not run.data.metrics
    with pytest.raises(ValueError, match=r"allowed: .*study@earlier \(begun"):
        download_study(uri, "study", tmp_path / "copy")


def test_study_of_an_earlier_version_leaves_an_experiment_alone_that_names_no_driver_of_it(
    uri: str, tmp_path: Path
) -> None:
    theirs = write_earlier_runs(uri, "host-1-def")
    with pytest.warns(UserWarning, match="keeps this 'study' apart"):
        track(uri, tmp_path, TOKEN, make_full_trial(tmp_path), known_drivers={"host-1-abc"})
    assert len(runs_in(uri, f"study@{TOKEN}")) == 2
    assert len(runs_in(uri, "study")) == 3
    assert not MlflowClient(uri).get_run(theirs["7"]).data.metrics


def test_study_that_an_earlier_version_tracked_is_still_read(uri: str, tmp_path: Path) -> None:
    track(uri, tmp_path, TOKEN, make_full_trial(tmp_path))
    client = MlflowClient(uri)
    for run in runs_in(uri, "study"):
        client.delete_tag(run.info.run_id, STUDY)
    for name in ("study", "study@earlier"):
        assert download_study(uri, name, tmp_path / name).config.read_text() == TOKEN


def test_experiment_made_by_hand_is_used_and_a_deleted_one_is_named(
    uri: str, tmp_path: Path
) -> None:
    client = MlflowClient(uri)
    by_hand = client.create_experiment("study", str(tmp_path / "elsewhere"))
    assert experiment_of(client, "study", TOKEN).experiment_id == by_hand
    client.delete_experiment(by_hand)
    with pytest.warns(UserWarning, match=r"'study' was deleted in MLflow\. To fix: restore it"):
        missing = make_tracker(uri, tmp_path).close("FINISHED")
    assert "To fix: restore it" in missing[0]
    assert experiment_of(client, "study", OTHER).name == f"study@{OTHER}"


def test_drivers_that_make_the_experiment_at_once_share_it(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the question and the making, another driver of the study, or another study."""
    client = MlflowClient(uri)
    create = MlflowClient.create_experiment
    for name, first, second in (("same", TOKEN, TOKEN), ("other", OTHER, "00000000aaaa")):
        calls = iter([first])

        def raced(self: MlflowClient, *args: Any, **kwargs: Any) -> Any:
            for token in calls:  # noqa: B023
                create(self, name, tags={STUDY: token})  # noqa: B023
            return create(self, *args, **kwargs)

        monkeypatch.setattr(MlflowClient, "create_experiment", raced)
        found = experiment_of(client, name, second)
        assert found.tags[STUDY] == second
        assert found.name == (name if first == second else f"{name}@{second}")


def test_retraining_of_another_study_is_left_alone(uri: str, tmp_path: Path) -> None:
    """As the trials' runs: confirmations are matched by token, also where they share a place."""
    tracker = make_tracker(uri, tmp_path)
    again = make_trial(tmp_path, 7, seed=1)
    tracker.sync(again)
    client = MlflowClient(uri)
    [mine] = [run for run in runs_in(uri, "study") if RETRAINING in run.data.tags]
    client.set_tag(mine.info.run_id, STUDY, OTHER)
    later: Tracker = make_tracker(uri, tmp_path, launch="launch-2", alive=lambda name: False)
    later.sync(again)
    found = [run for run in runs_in(uri, "study") if RETRAINING in run.data.tags]
    assert sorted(run.data.tags[STUDY] for run in found) == sorted([TOKEN, OTHER])
