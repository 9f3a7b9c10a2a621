import pytest

from diffrop.errors import CheckpointError, errors_to_exit


@pytest.mark.parametrize(
    "error", [ValueError("a is 1; allowed: 2"), CheckpointError("it is gone")]
)
def test_known_errors_end_in_one_sentence_and_exit_code_2(
    error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended, errors_to_exit():
        raise error
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"error: {error}\n"


def test_other_errors_pass() -> None:
    with pytest.raises(KeyError), errors_to_exit():
        raise KeyError("a bug")
