from pathlib import Path

import pytest

from diffrop.tracking.uri import ui_command
from tests.made.mlflow_study import CANARY, make_tracker


def test_ui_command_shows_no_credentials() -> None:
    for uri in (f"postgresql://user:{CANARY}@host:5432/db", f"https://{CANARY}@host/path"):
        assert CANARY not in ui_command(uri)


def test_ui_command_can_be_pasted() -> None:
    expected = "mlflow ui --backend-store-uri 'sqlite:////a b/m.db' --host 127.0.0.1"
    assert ui_command("sqlite:////a b/m.db") == expected
    assert ui_command("http://127.0.0.1:5000") == "http://127.0.0.1:5000"


@pytest.mark.parametrize(
    "uri",
    [
        "file:/tmp/mlruns",
        "file:///tmp/mlruns",
        "/tmp/mlruns",
        "mlruns",
        "",
        "databricks",
        f"mysql://user:{CANARY}@host/db",
        "HTTP://127.0.0.1:5000",
        "SQLITE:////tmp/mlflow.db",
        f"gopher://user:{CANARY}@host",
        "sqlite://",
        "sqlite:///relative.db",
        "sqlite:///:memory:",
        "http://",
        f"http://u:{CANARY}/@host",
        f"http://user:{CANARY}@host:port",
        f"postgresql://user:{CANARY}@host",
        f"postgresql://user:{CANARY}@host:port/db",
        "http://[::1",
    ],
)
def test_other_uris_are_refused_by_naming_the_allowed(uri: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"allowed: sqlite:////absolute/path\.db, http") as caught:
        make_tracker(uri, tmp_path)
    assert CANARY not in str(caught.value)
    assert caught.value.__cause__ is None and caught.value.__context__ is None
