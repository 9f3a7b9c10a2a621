"""What a screen shows is kept in the study's log."""

import io
from pathlib import Path

from rich.console import Console

from diffrop.console.kept_screen import KeptScreen
from diffrop.console.screens import PlainScreen, QuietScreen
from diffrop.record.launch_log import add_to_log
from diffrop.record.study_folder import StudyFolder
from tests.made.progress import progress, trial


def test_log_keeps_sentences_and_ended_trials_whatever_is_shown(tmp_path: Path) -> None:
    folder, output = StudyFolder(tmp_path / "study"), io.StringIO()
    screen = KeptScreen(PlainScreen(Console(file=output, width=200)), folder)
    screen.say("before there is a folder")
    folder.path.mkdir()
    for shown in (screen, KeptScreen(QuietScreen(), folder)):
        shown.say("Confirming.")
        done = trial(0, "COMPLETE", images_seen=20_480)
        for _ in range(2):
            shown.show(progress(done, trial(1), best=done))
        shown.close()
    lines = [line.split(" ", 2)[2] for line in folder.log.read_text().splitlines()]
    ended = "t000 hinge tau_0=3.2 | COMPLETE at 20,480 | fid/few 41.23 at N = 200"
    assert lines == ["Confirming.", ended] * 2
    assert ended in output.getvalue() and "before there is a folder" in output.getvalue()


def test_full_disk_costs_the_log_alone(tmp_path: Path) -> None:
    add_to_log(Path("/dev/full"), ["lost"])
    add_to_log(tmp_path / "nowhere" / "study.log", ["lost"])
    assert list(tmp_path.iterdir()) == []
