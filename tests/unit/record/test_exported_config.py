from pathlib import Path

import pytest

from diffrop.record.exported_config import load_export


def test_file_that_is_no_export_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("config: {}")
    with pytest.raises(ValueError, match="no exported configuration"):
        load_export(tmp_path / "x.yaml")
