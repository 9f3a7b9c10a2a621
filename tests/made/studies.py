"""Running small studies in a test, on cheap features."""

from dataclasses import replace
from pathlib import Path

from diffrop.console.screens import QuietScreen
from diffrop.engine.prepare import PreparedStudy, check_study, fingerprints_of
from diffrop.engine.run import FinishedStudy, run_study
from diffrop.metrics.features import FeatureExtractor
from diffrop.scoring.samples import ScoringInputs
from diffrop.search.warm_start import gather
from diffrop.study.config import LaunchConfig, StudyConfig
from tests.made.small import small_inputs
from tests.made.strikes import Striker, striking_dataset


def run_small(
    config: StudyConfig,
    launch: LaunchConfig,
    extractor: FeatureExtractor | None = None,
    striker: Striker | None = None,
) -> FinishedStudy:
    """Run a study whose scores come from `RowBrightness`, or from another extractor.

    A striker strikes its trials in the training loop.
    """
    store, dataset = check_study(config, launch)
    inputs = small_inputs(dataset)
    if extractor is not None:
        inputs = ScoringInputs(dataset, extractor, inputs.reference)
    if striker is not None:
        inputs = replace(inputs, dataset=striking_dataset(dataset, striker))
    known = gather(config, store.path.parent, fingerprints_of(inputs))
    prepared = PreparedStudy(store, inputs, reference_scores={}, warm_start=known)
    return run_study(config, launch, prepared, "test", QuietScreen(), lambda path, standing: [])


def launch_in(folder: Path, **changes: object) -> LaunchConfig:
    """A launch whose files lie in `folder`."""
    return LaunchConfig(runs_root=str(folder / "runs"), **changes)  # type: ignore[arg-type]


def states(finished: FinishedStudy) -> list[str]:
    """The trials' states, by number."""
    return [trial.state for trial in finished.result.trials]
