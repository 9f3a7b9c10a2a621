import time
from pathlib import Path

import pytest

from diffrop.redaction import hide, redact
from diffrop.tracking.uri import ui_command
from tests.unit.tracking.mlflow_study import CANARY, make_tracker


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        (f"postgresql://user:{CANARY}@host:5432/db", "postgresql://***@host:5432/db"),
        (f"postgresql+psycopg://u:a/b@{CANARY}?#@host/db", "postgresql+psycopg://***@host/db"),
        (
            f"postgresql://host/db?user=u&password={CANARY}&x=1",
            "postgresql://host/db?user=u&password=***&x=1",
        ),
        (f"https://{CANARY}@host/path", "https://***@host/path"),
        ("sqlite:////home/a@b/mlflow.db", "sqlite:////home/a@b/mlflow.db"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
    ],
)
def test_redact_hides_credentials_only(uri: str, expected: str) -> None:
    assert redact(uri) == expected
    assert CANARY not in ui_command(uri)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"password {CANARY} refused", "password *** refused"),
        (
            f"cannot reach http://u:{CANARY}@host/db, sorry",
            "cannot reach http://***@host/db, sorry",
        ),
        (f"(postgresql://user:{CANARY}@host/db)", "(postgresql://***@host/db)"),
        ("trial t007 at 12:30", "trial t007 at 12:30"),
    ],
)
def test_hide_takes_credentials_out_of_any_text(text: str, expected: str) -> None:
    assert hide(text, f"postgresql://user:{CANARY}@host/db") == expected


def test_hide_takes_long_words_in_linear_time() -> None:
    start = time.monotonic()
    assert hide("x" * 300_000, "sqlite:////m.db") == "x" * 300_000
    assert time.monotonic() - start < 5


def test_ui_command_can_be_pasted() -> None:
    expected = "mlflow ui --backend-store-uri 'sqlite:////a b/m.db' --host 127.0.0.1"
    assert ui_command("sqlite:////a b/m.db") == expected
    assert ui_command("http://127.0.0.1:5000") == "open http://127.0.0.1:5000"


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
