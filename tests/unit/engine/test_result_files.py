import dataclasses
import warnings

import pandas as pd
import pytest
import yaml

from diffrop.config import ExperimentConfig
from diffrop.engine.result_files import write_results
from diffrop.record.exported_config import load_export
from diffrop.record.results import StudyResult
from diffrop.record.study_store import StudyStore
from diffrop.scoring.paired_differences import with_differences
from diffrop.study.sampling_choice import sampling_choices
from tests.made.finished_study import reader
from tests.made.scores import cost_preference
from tests.made.small import constrained

Finished = tuple[StudyStore, StudyResult]


def test_csv_and_export_hold_what_was_found(finished: Finished) -> None:
    store, result = finished
    folder = store.folder
    assert write_results(result, folder) == [folder.trials_table, folder.front_table, folder.best]
    frame = pd.read_csv(folder.trials_table)
    assert frame["state"].tolist() == ["COMPLETE", "COMPLETE", "PRUNED", "FAIL"]
    assert frame.loc[1, "fid/few"] == 42.0
    assert frame.loc[2, "images_seen"] == 64
    content = yaml.safe_load(folder.best.read_text())
    assert content["omega"] == 1.0
    provenance = content["provenance"]
    assert (provenance["trial"], provenance["value"], provenance["baseline_value"]) == (1, 40, 50)
    assert provenance["num_samples"] == {"all": 40, "many": 12, "few": 12}
    assert {"git_commit", "versions", "seeds", "sampler", "extractor"} <= provenance.keys()
    exported = ExperimentConfig.from_dict(content["config"])
    assert exported.contrastive.margin == 1.01
    final = load_export(folder.best)
    assert final.experiment.evaluation.guidance_scales == (1.0,)
    assert final.experiment.contrastive == exported.contrastive
    searched = result.config.experiment.evaluation.guidance_scales
    assert final.with_omegas.evaluation.guidance_scales == tuple(sorted({*searched, 1.0}))
    assert final.found == "the study's was 1 after 128 images"


def test_export_keeps_the_interval_of_guidance(finished: Finished) -> None:
    store, result = finished
    best = result.best
    assert best is not None and best.card is not None
    name = "ddim-2-guided-0.2-0.7"
    curve = [dataclasses.replace(point, sampler=name) for point in best.card.curve]
    card = dataclasses.replace(best.card, sampler=name, curve=curve)
    trials = [
        dataclasses.replace(trial, card=card) if trial.number == best.number else trial
        for trial in result.trials
    ]
    write_results(dataclasses.replace(result, trials=trials), store.folder)
    table = pd.read_csv(store.folder.trials_table).set_index("number")
    assert table.loc[best.number, "sampler"] == name
    (choice,) = sampling_choices(load_export(store.folder.best).experiment)
    assert (choice.omega, choice.sampler) == (1.0, name)


def test_export_says_why_a_cheaper_choice_was_taken(finished: Finished) -> None:
    store, result = finished
    best = result.best
    assert best is not None and best.card is not None
    write_results(result, store.folder)
    provenance = yaml.safe_load(store.folder.best.read_text())["provenance"]
    assert provenance["cost_preference"] is None
    card = dataclasses.replace(best.card, preference=cost_preference("it is nearly as good"))
    trials = [
        dataclasses.replace(trial, card=card) if trial.number == best.number else trial
        for trial in result.trials
    ]
    write_results(dataclasses.replace(result, trials=trials), store.folder)
    provenance = yaml.safe_load(store.folder.best.read_text())["provenance"]
    assert provenance["cost_preference"] == "it is nearly as good"


@pytest.mark.parametrize(
    ("constraint", "feasible"),
    [("fid/many <= 41", True), ("fid/many <= 5", False), ("fid/many <= baseline + 5%", True)],
)
def test_export_says_whether_its_trial_keeps_the_constraints(
    finished: Finished, constraint: str, feasible: bool
) -> None:
    store, result = finished
    found = reader(store, constrained(result.config, constraint)).read()
    write_results(found, store.folder)
    provenance = yaml.safe_load(store.folder.best.read_text())["provenance"]
    assert provenance["constraints"] == [constraint]
    assert provenance["feasible"] is feasible


def test_differences_to_the_baseline_are_in_the_table_and_in_the_export(
    finished: Finished,
) -> None:
    store, result = finished[0], with_differences(finished[1])
    write_results(result, store.folder)
    frame = pd.read_csv(store.folder.trials_table)
    assert frame["difference_value"].notna().tolist() == [False, True, False, False]
    exported = yaml.safe_load(store.folder.best.read_text())["provenance"]
    assert exported["difference"]["high"] == pytest.approx(result.differences[1]["fid/all"].high)


def test_baseline_is_exported_where_nothing_was_learned(finished: Finished) -> None:
    store, result = finished
    noise = {"noise": {"scores": {"fid/all": 49.0}}}
    write_results(dataclasses.replace(result, reference_scores=noise), store.folder)
    provenance = yaml.safe_load(store.folder.best.read_text())["provenance"]
    assert provenance["trial"] == 0
    assert "no better than that of pure noise" in provenance["nothing_learned"][0]
    failed = [dataclasses.replace(result.trials[0], rank=None), *result.trials[1:]]
    training = dataclasses.replace(result.config.experiment.training, warmup_images=1_000)
    experiment = dataclasses.replace(result.config.experiment, training=training)
    config = dataclasses.replace(result.config, experiment=experiment)
    write_results(dataclasses.replace(result, trials=failed, config=config), store.folder)
    assert not store.folder.best.exists()


@pytest.mark.parametrize(
    ("fork_from", "images", "went_on_from"),
    [(None, 0, None), ("baseline@64", 64, None), ("/models/x.safetensors", 0, "/models/x")],
)
def test_export_of_a_fork_says_what_a_configuration_cannot(
    finished: Finished,
    fork_from: str | None,
    images: int,
    went_on_from: str | None,
) -> None:
    store, result = finished
    config = dataclasses.replace(result.config, fork_from=fork_from)
    write_results(dataclasses.replace(result, config=config), store.folder)
    path = store.folder.best
    if went_on_from is None:
        with warnings.catch_warnings(action="error"):
            final = load_export(path)
    else:
        with pytest.warns(UserWarning, match=f"went on from {went_on_from}"):
            final = load_export(path)
    assert final.experiment.contrastive.start_images == images
