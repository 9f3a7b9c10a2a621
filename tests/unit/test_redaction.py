import time

import pytest

from diffrop.redaction import hide, redact, storable

CANARY = "c4n4ry-s3cret"


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


@pytest.mark.parametrize(
    "text", ["", "tau 3,2 \u4e2d\u6587 \U0001f600", "nul\0", "no utf-8 \udcff \ud800"]
)
def test_storable_text_is_utf8_without_nul_and_keeps_what_can_be_kept(text: str) -> None:
    found = storable(text)
    assert b"\0" not in found.encode("utf-8") and len(found) == len(text)
    kept = [(a, b) for a, b in zip(text, found, strict=True) if a != b]
    assert {b for _, b in kept} <= {"?"} and all(
        a == "\0" or 0xD800 <= ord(a) < 0xE000 for a, _ in kept
    )
