from pathlib import Path

from diffrop.record.json_files import read_record, write_record
from diffrop.record.warm_start import WarmStartRecord


def test_notes_survive_the_disk(tmp_path: Path) -> None:
    record = WarmStartRecord(notes=("6 of 6 trials of 'old' are known to the sampler",))
    write_record(tmp_path / "warm_start.json", record)
    assert read_record(tmp_path / "warm_start.json", WarmStartRecord) == record
