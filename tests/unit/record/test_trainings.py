import json
from pathlib import Path

from diffrop.record.trainings import StoredTraining, TrainingSegment


def test_segments_are_read_as_they_were_written_and_a_torn_line_is_passed_over(
    tmp_path: Path,
) -> None:
    training = StoredTraining(tmp_path)
    assert training.segments() == []
    segments = [
        TrainingSegment(begin, begin + 64, 2.5, workers=2, gpus=1.0, time=7.0) for begin in (0, 64)
    ]
    for segment in segments:
        training.add_segment(segment)
    with training.costs_path.open("a") as file:
        file.write('{"from": 9, "to"')
    assert training.segments() == segments
    row = json.loads(training.costs_path.read_text().splitlines()[1])
    assert (row["from"], row["to"], row["seconds"]) == (64, 128, 2.5)


def test_units_are_gpus_or_workers_without_gpus() -> None:
    assert TrainingSegment(0, 64, 2.5, workers=2, gpus=0.5, time=7.0).units == 0.5
    assert TrainingSegment(0, 64, 2.5, workers=2, gpus=0.0, time=7.0).units == 2
