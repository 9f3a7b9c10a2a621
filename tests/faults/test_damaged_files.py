"""Files of a half-done study are damaged, and the study is resumed."""

import warnings
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest

from diffrop.record.cost import CostRecord
from diffrop.record.json_files import read_record
from diffrop.record.study_folder import StudyFolder
from tests.made.faults import fault
from tests.made.ray_head import ray_head
from tests.made.small import small_study
from tests.made.studies import launch_in, run_small, states

pytestmark = [pytest.mark.timeout(600), pytest.mark.usefixtures("mlflow_tables")]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with ray_head(tmp_path_factory.mktemp("head"), num_cpus=2) as found:
        yield found


@fault(29, "scores, plan, agreement and curves of a study overwritten between two launches")
@fault(48, "another value in a score file")
def test_resumed_study_makes_again_what_was_damaged(address: str, tmp_path: Path) -> None:
    config = small_study(num_trials=2, scheduler="none")
    launch = launch_in(tmp_path, ray_address=address)
    first = run_small(config, launch).result
    folder = StudyFolder(Path(launch.runs_root) / config.name)
    baseline, other = (folder.trial(number).score_files()[-1] for number in (0, 1))
    began = read_record(folder.cost, CostRecord)
    assert began is not None
    value = first.trials[0].card
    assert value is not None
    baseline.write_text("null")
    other.write_text(other.read_text().replace('"omega": ', '"omega": 1'))
    folder.cost.write_text("[]")
    folder.rung_agreement.unlink()
    folder.rung_agreement.mkdir()
    folder.trials_table.write_bytes(b"\xff\x00")
    with folder.trial(1).training().curves_path.open("a") as curves:
        curves.write('{"images_seen": 12')

    more = small_study(num_trials=3, scheduler="none")
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        finished = run_small(more, launch_in(tmp_path, ray_address=address, resume=True))
    assert states(finished) == ["COMPLETE"] * 3
    for before, after in zip(first.trials, finished.result.trials, strict=False):
        assert before.card is not None and after.card is not None
        assert after.card.scores == before.card.scores and after.rank is not None
    cost = read_record(folder.cost, CostRecord)
    assert cost is not None and cost.began == began.began
    sentences = [str(warning.message) for warning in seen]
    for path in (baseline, other, folder.cost, folder.rung_agreement):
        assert any(path.name in sentence for sentence in sentences)
        assert path.is_file() and path.with_name(f"{path.name}.damaged").exists()
    assert "t002" in folder.trials_table.read_text()
    storage = f"sqlite:///{folder.database}"
    study = optuna.load_study(study_name=config.name, storage=storage)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 3
