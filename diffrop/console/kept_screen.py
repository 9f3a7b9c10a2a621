"""What a screen shows, kept in the study's log file for whoever was not there to read it."""

from diffrop.console.screens import ended_line, newly_ended
from diffrop.engine.progress import Progress, Screen
from diffrop.record.launch_log import add_to_log
from diffrop.record.study_folder import StudyFolder


class KeptScreen(Screen):
    """Another screen whose sentences, and how each trial ended, also go into the study's log."""

    def __init__(self, screen: Screen, folder: StudyFolder) -> None:
        """Show on `screen`; what is said before there is a folder is not kept."""
        self._screen, self._folder = screen, folder
        self._ended: set[str] = set()

    def show(self, progress: Progress) -> None:
        """Show where the study stands; keep which trials have ended."""
        ended = newly_ended(progress, self._ended)
        self.keep(*(ended_line(trial, progress.objective) for trial in ended))
        self._screen.show(progress)

    def say(self, sentence: str) -> None:
        """Show and keep a sentence."""
        self.keep(sentence)
        self._screen.say(sentence)

    def close(self) -> None:
        """Leave the last state behind."""
        self._screen.close()

    def keep(self, *lines: str) -> None:
        """Keep lines without showing them."""
        add_to_log(self._folder.log, lines)
