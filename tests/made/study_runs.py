"""A running study without a cluster, MLflow or a budget of its own."""

from pathlib import Path
from unittest.mock import Mock

import optuna

from diffrop.engine.prepare import PreparedStudy
from diffrop.engine.study_run import StudyRun
from diffrop.record.study_folder import StudyFolder
from diffrop.record.study_store import StudyStore
from diffrop.study.config import LaunchConfig
from tests.made.small import small_inputs, small_study


class SaidScreen:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, sentence: str) -> None:
        """Keep it."""
        self.said.append(sentence)

    def working(self, what: str, share: float | None = None) -> None:
        """Let it go."""


class SetBudget:
    """A budget that lets everything begin, or nothing."""

    def __init__(self, refusal: str = "") -> None:
        self._refusal = refusal

    def refusal(self) -> str:
        """Why nothing may begin."""
        return self._refusal


def study_run(
    folder: Path,
    screen: SaidScreen,
    launch: LaunchConfig | None = None,
    refusal: str = "",
    **changes: object,
) -> StudyRun:
    """A small study in `folder / "small"`.

    Args:
        folder: the runs folder.
        screen: what is shown.
        launch: what is asked for.
        refusal: why its budget lets nothing begin.
        changes: of the study's configuration.
    """
    config = small_study(**changes)  # type: ignore[arg-type]
    study, directory = optuna.create_study(), StudyFolder(folder / config.name)
    directory.path.mkdir(parents=True)
    prepared = PreparedStudy(
        StudyStore(directory.path.parent, config.name), small_inputs(), reference_scores={}
    )
    run = StudyRun(config, launch or LaunchConfig(), prepared, screen)  # type: ignore[arg-type]
    run.study, run.observer, run.budget = study, Mock(), SetBudget(refusal)
    return run
