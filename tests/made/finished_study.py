"""A study of four that has ended: baseline 50, a better hinge 40, a stopped one, a failed one."""

from pathlib import Path

import torch

from diffrop.checkpoint_file import Checkpoint, write_checkpoint
from diffrop.record.result_reader import ResultReader
from diffrop.record.results import StudyResult
from diffrop.record.study_store import StudyStore
from diffrop.study.config import LaunchConfig, StudyConfig
from tests.made.scores import score_card
from tests.made.small import small_study
from tests.made.stored_study import MadeTrial, store_study

CONFIG = small_study(num_trials=4)
HINGE = {
    "contrastive.form": "hinge",
    "contrastive.tau_0": 3.25,
    "contrastive.decay_temperature": 0.2,
    "contrastive.margin": 1.01,
}


def influence(number: int) -> dict[str, torch.Tensor]:
    """Large in every trial, with a small part of its own: what is shared drops out."""
    rng = torch.Generator().manual_seed(0)
    shared = 100 * torch.randn(40, generator=rng)
    own = torch.randn(40, generator=torch.Generator().manual_seed(1 + number))
    return {"fid/all": shared + own, "labels/all": torch.arange(40) % 10}


def write_finished_study(root: Path, command: str = "command") -> None:
    """Write the study, begun by a command, into a runs folder; the stopped trial looks best."""
    ends = [("COMPLETE", 50.0, 128), ("COMPLETE", 40.0, 128), ("PRUNED", 1.0, 64)]
    trials = [
        MadeTrial(
            number=number,
            state=state,
            values=HINGE if number else {},
            cards=[score_card(value, images, half_width=3)],
        )
        for number, (state, value, images) in enumerate(ends)
    ]
    trials.append(MadeTrial(number=3, state="FAIL", values=HINGE))
    store, _ = store_study(root, CONFIG, trials, command)
    for number, (_, _, images) in enumerate(ends):
        path = store.folder.trial(number).score_path(images)
        write_checkpoint(path.with_suffix(".safetensors"), Checkpoint(influence(number), {}))


def open_finished_study(root: Path) -> tuple[StudyStore, StudyResult]:
    """Return the study with its results."""
    store = StudyStore(root, CONFIG.name)
    return store, reader(store).read()


def reader(store: StudyStore, config: StudyConfig = CONFIG) -> ResultReader:
    """Return a new reader of the study's results."""
    study = store.open(LaunchConfig(resume=True))
    return ResultReader(study, store.folder, config)
