import logging
from pathlib import Path

import pytest

from diffrop.record.launch_log import logged_apart


def test_what_a_library_says_goes_to_the_log_with_its_trace(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, logger = tmp_path / "study.log", logging.getLogger("made.package.module")
    with logged_apart("made.package", path):
        try:
            raise RuntimeError("gone")
        except RuntimeError as error:
            logger.error("the worker failed", exc_info=error)
    assert caplog.records == []
    lines = path.read_text().splitlines()
    assert lines[0].endswith("the worker failed") and lines[-1].endswith("RuntimeError: gone")
    logger.error("later")
    assert [record.message for record in caplog.records] == ["later"]
    assert "later" not in path.read_text()
