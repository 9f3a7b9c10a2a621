from diffrop.record.trainings import TrainingSegment


def test_segment_is_read_as_it_was_written() -> None:
    segment = TrainingSegment(0, 64, 2.5, workers=2, gpus=1.0, time=7.0)
    row = segment.to_row()
    assert row == {"from": 0, "to": 64, "seconds": 2.5, "workers": 2, "gpus": 1.0, "time": 7.0}
    assert TrainingSegment.from_row(row) == segment
    assert row["from"] == 0  # what was read stays as it was


def test_units_are_gpus_or_workers_without_gpus() -> None:
    assert TrainingSegment(0, 64, 2.5, workers=2, gpus=0.5, time=7.0).units == 0.5
    assert TrainingSegment(0, 64, 2.5, workers=2, gpus=0.0, time=7.0).units == 2
