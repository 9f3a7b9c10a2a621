import contextlib
import io
import json
from pathlib import Path

import pandas as pd
import pytest

from analysis.data.load import StudyResults, load_study
from analysis.data.tracked import load_tracked
from analysis.figures.registry import study_figure
from diffrop.tracking import TrackedTrial, Tracker
from tests.made.drawn import text_of
from tests.made.full_study import KEY, TRIALS, write_full_study

DRAWN = ("loss_forms", "guidance_curve", "learning_curves", "rung_ranks", "cost")
SHOWN = (0, 1, 3, 6, 7)
"""Of the full study: the baseline, two forms, a pruned and a failed trial."""


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, StudyResults]:
    """A study in MLflow, as the tracker writes it, and the same from its folder."""
    root = tmp_path_factory.mktemp("tracked")
    directory = write_full_study(root / "full")
    uri = f"sqlite:///{root}/mlflow.db"
    with contextlib.redirect_stderr(io.StringIO()):
        tracker = Tracker(
            uri,
            artifact_root=root / "artifacts",
            experiment="full",
            launch="launch-1",
            params={},
            tags={"dataset": "digits", "extractor": "classifier-digits"},
        )
        for number, state, form, tau_0, kappa, margin, schedule, _ in TRIALS:
            if number in SHOWN:
                values = {
                    "contrastive.form": form,
                    "contrastive.tau_0": tau_0,
                    "contrastive.decay_temperature": kappa,
                    KEY: schedule,
                    "contrastive.margin": margin,
                }
                params = {key: value for key, value in values.items() if value is not None}
                folder = directory / "trials" / f"t{number:03d}"
                tracker.sync(
                    TrackedTrial(
                        number=number,
                        name=folder.name,
                        directory=folder,
                        state=state,
                        params=params,
                        tags={"form": form},
                    )
                )
        assert tracker.close("FINISHED") == []
    return uri, load_study(directory)


def test_trials_from_mlflow_are_those_of_the_folder(mirrored: tuple[str, StudyResults]) -> None:
    uri, stored = mirrored
    tracked = load_tracked(uri, "full")
    expected = stored.trials[stored.trials["number"].isin(SHOWN)].reset_index(drop=True)
    same = [
        "number",
        "state",
        "form",
        "baseline",
        "tau_0",
        "margin",
        "decay_temperature",
        "value",
        "omega",
        "fid/few",
        "num_samples/few",
        "images_seen",
        "rung",
    ]
    pd.testing.assert_frame_equal(tracked.trials[same], expected[same], check_dtype=True)
    assert tracked.trials["extractor"].unique().tolist() == ["classifier-digits", ""]
    assert tracked.trials.loc[0, "sampler"] == "sampler not in MLflow"


def test_measurements_and_curves_from_mlflow_are_those_of_the_folder(
    mirrored: tuple[str, StudyResults],
) -> None:
    uri, stored = mirrored
    tracked = load_tracked(uri, "full")
    keys = ["number", "images_seen", "omega", "score", "round_samples", "value", "num_samples"]
    expected = stored.measurements[
        stored.measurements["final"] & stored.measurements["number"].isin(SHOWN)
    ]
    found = tracked.measurements[tracked.measurements["final"]]
    pd.testing.assert_frame_equal(
        found[keys].sort_values(keys).reset_index(drop=True),
        expected[keys].sort_values(keys).reset_index(drop=True),
    )
    own = ["number", "images_seen", "measure", "value"]
    expected = stored.curves[stored.curves["number"].isin(SHOWN)][own]
    pd.testing.assert_frame_equal(
        tracked.curves[own].sort_values(own).reset_index(drop=True),
        expected.sort_values(own).reset_index(drop=True),
    )


def test_figures_can_be_drawn_from_mlflow(mirrored: tuple[str, StudyResults]) -> None:
    tracked = load_tracked(mirrored[0], "full")
    for entry in map(study_figure, DRAWN):
        text = text_of(entry.draw(tracked))
        assert "FID on classifier-digits, N = 1,000" in text and "digits; 24,000 images" in text


def test_settings_complete_the_caption(mirrored: tuple[str, StudyResults]) -> None:
    uri, stored = mirrored
    tracked = load_tracked(uri, "full", settings=stored.config)
    assert "digits, imbalance 0.1" in text_of(study_figure("loss_forms").draw(tracked))


@pytest.mark.parametrize(
    ("uri", "study", "sentence"),
    [
        ("mirrored", "nope", "there is no study 'nope' in MLflow at .*allowed: .*full"),
        ("sqlite:////nowhere/mlflow.db", "full", "there is no file /nowhere/mlflow.db; allowed"),
        ("ftp://server", "full", "tracking_uri is 'ftp://server'; allowed"),
        ("http://127.0.0.1:9", "full", "MLflow at http://127.0.0.1:9 cannot be read"),
        ("foreign", "full", "cannot be read"),
    ],
)
def test_what_mlflow_cannot_answer_is_one_sentence(
    mirrored: tuple[str, StudyResults], tmp_path: Path, uri: str, study: str, sentence: str
) -> None:
    foreign = tmp_path / "foreign.db"
    foreign.write_text(json.dumps({"not": "a database"}))
    known = {"mirrored": mirrored[0], "foreign": f"sqlite:///{foreign}"}
    with pytest.raises(ValueError, match=sentence) as caught:
        load_tracked(known.get(uri, uri), study)
    assert "\n" not in str(caught.value)
    assert foreign.read_text() == '{"not": "a database"}'
