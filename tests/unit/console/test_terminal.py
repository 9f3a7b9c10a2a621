import io
import shlex

import pytest
import yaml
from rich.console import Console
from rich.table import Table

from diffrop.console.screens import LiveScreen, PlainScreen
from diffrop.console.terminal import Terminal
from diffrop.engine.progress import Progress, TrialProgress
from diffrop.record.next_step import resume_command
from diffrop.record.settings import read_settings
from diffrop.record.study_store import StudyStore
from diffrop.study.config import STUDY_FORMAT
from tests.made.faults import fault

NASTY = (
    "[fid]",
    "[/pytorch/gloo/tcp/pair.cc:534] Connection closed",
    "[enforce fail at alloc_cpu.cpp:127] err == 0",
    "[bold]loud[/bold] [/] [link=http://x]y[/link]",
    ":smile: :warning:",
    "<script>alert(1)</script>",
    r"back\[slash] \\",
)


def printed(show: object, encoding: str = "utf-8") -> str:
    """What is printed on a terminal of colours by `show(console)`."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="")
    show(Terminal(file=stream, width=200, force_terminal=True, color_system="truecolor"))  # type: ignore[operator]
    stream.seek(0)
    return stream.read()


@pytest.mark.parametrize("text", NASTY)
def test_text_is_printed_as_it_is(text: str) -> None:
    assert printed(lambda console: console.print(text)) == f"{text}\n"


@pytest.mark.parametrize("text", NASTY)
def test_cells_and_heads_of_tables_are_printed_as_they_are(text: str) -> None:
    table = Table(text, box=None, padding=0, header_style="none", title=text, title_style="none")
    table.add_row(text)
    lines = printed(lambda console: console.print(table)).splitlines()
    assert [line.strip() for line in lines] == [text] * 3


def test_numbers_of_a_table_are_whole_on_a_narrow_terminal() -> None:
    table = Table(box=None)
    for number in range(10):
        table.add_column(f"head{number}", no_wrap=True)
    table.add_row(*["12,345"] * 10)
    stream = io.StringIO()
    Terminal(file=stream, width=40).print(table)
    assert stream.getvalue().count("12,345") == 10


@fault(38, "escape sequences and marks of direction in what is printed")
def test_no_escape_sequence_or_mark_of_direction_reaches_the_terminal() -> None:
    found = printed(lambda console: console.print("a\x1b]0;title\x07b\u202ec\udce9d"))
    assert found == "a\\x1b]0;title\\x07b\\u202ec\\udce9d\n"


def test_what_the_stream_cannot_encode_stands_as_an_escape() -> None:
    assert (
        printed(lambda console: console.print("caf\u00e9 \u732b"), "ascii") == "caf\\xe9 \\u732b\n"
    )


def progress(message: str, state: str = "FAIL") -> Progress:
    trial = TrialProgress(
        number=1,
        name=f"t001 {message}",
        form=message,
        state=state,
        images_seen=0,
        images_per_s=None,
        loss=None,
        grad_ratio=None,
        score=None,
        num_samples=None,
        message=message,
    )
    return Progress(
        study="s",
        num_trials=2,
        num_ended=1,
        images=1,
        objective="fid/all",
        best=trial,
        seconds_left=None,
        trials=[trial],
    )


@pytest.mark.parametrize("text", NASTY)
@pytest.mark.parametrize("kind", [Console, Terminal])
@pytest.mark.parametrize("view", [PlainScreen, LiveScreen])
def test_screens_show_messages_as_they_are_on_any_console(
    text: str, kind: type[Console], view: type[PlainScreen] | type[LiveScreen]
) -> None:
    file = io.StringIO()
    screen = view(kind(file=file, width=200))
    screen.say(f"next: {text}")
    screen.show(progress(text, "RUNNING"))
    screen.show(progress(text))
    screen.close()
    assert f"next: {text}\n" in file.getvalue()
    assert f"no score: {text}\n" in file.getvalue()


def test_command_to_go_on_with_is_the_one_that_was_typed(tmp_path) -> None:  # type: ignore[no-untyped-def]
    words = ["python", "studies/run_tau_sweep.py", "--set", "evaluation.metrics=[fid]"]
    store = StudyStore(tmp_path, "s")
    store.path.mkdir()
    store.folder.config.write_text(
        yaml.safe_dump({"format": STUDY_FORMAT, "command": shlex.join(words)})
    )
    stored = read_settings(store.folder)["command"]
    line = f"Go on with: {resume_command(stored, store.name)}"
    shown = printed(lambda console: console.print(line, soft_wrap=True))
    typed = shlex.split(shown.removeprefix("Go on with: "))
    assert typed == [*words, "--study-name", "s", "--resume"]
