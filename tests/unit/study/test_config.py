import pytest

from diffrop.study.config import STUDY_FORMAT, StudyConfig
from tests.made.small import small_study


def test_rungs_are_whole_batches_and_end_with_the_training() -> None:
    rungs = small_study(first_rung_images=33).rungs
    assert [(rung.images, rung.num_samples, rung.final) for rung in rungs] == [
        (64, 20, False),
        (96, 40, False),
        (128, 40, True),
    ]
    assert [rung.images for rung in small_study(scheduler="none").rungs] == [128]


@pytest.mark.parametrize(
    "name", ["../x", "/abs", "a/b", "a\0b", "", ".hidden", "a..b", "x" * 101, "-x"]
)
def test_names_that_could_leave_the_folder_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="letters, digits"):
        small_study(name)


@pytest.mark.parametrize("name", ["checkpoints", "mlartifacts", "mlflow.db", "mlflow.db-wal"])
def test_names_of_what_all_studies_share_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"name is '{name}'; allowed: not checkpoints, mlart"):
        small_study(name)


@pytest.mark.parametrize("factor", [1, 1.0000001, 1e308, -2])
def test_reduction_factor_that_would_make_no_or_endless_rungs_is_refused(factor: float) -> None:
    with pytest.raises(ValueError, match=r"reduction_factor is .*; allowed: 1.1 to 1000"):
        small_study(reduction_factor=factor)


def test_rungs_within_one_batch_are_one() -> None:
    study = small_study(first_rung_images=1, reduction_factor=1.1)
    images = [rung.images for rung in study.rungs]
    assert images == sorted(set(images))


def test_study_does_not_warm_start_itself() -> None:
    with pytest.raises(ValueError, match="warm_start is 'new'; allowed: other studies"):
        small_study("new", warm_start=("new",))


def test_settings_hold_the_format_and_the_command_beside_the_configuration() -> None:
    config = small_study()
    settings = {"format": STUDY_FORMAT, "command": "python run.py", **config.to_dict()}
    assert StudyConfig.from_settings(settings) == config


@pytest.mark.parametrize(
    ("fork_from", "images"), [(None, 0), ("baseline@40", 64), ("/models/x.safetensors", 0)]
)
def test_images_before_a_fork_count_where_the_study_trains_them(
    fork_from: str | None, images: int
) -> None:
    assert small_study(fork_from=fork_from).prefix_images == images  # in whole batches of 32


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scheduler": "luck"}, "scheduler is 'luck'; allowed: "),
        ({"num_trials": 1}, "num_trials is 1; allowed: at least 2"),
        ({"audit_fraction": 1.5}, "audit_fraction is 1.5; allowed: 0 to 1"),
        ({"points": ({},) * 3}, "3 points.*allowed: 2 with num_trials at most"),
    ],
)
def test_budgets_that_are_none_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small_study(**changes)  # type: ignore[arg-type]
