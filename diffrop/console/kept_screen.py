"""What a screen shows, kept in the study's log file for whoever was not there to read it."""

from diffrop.console.screens import ended_line, newly_ended
from diffrop.engine.preparing import Preparing
from diffrop.engine.progress import PassingScreen, Progress, Screen
from diffrop.record.launch_log import add_to_log
from diffrop.record.study_folder import StudyFolder


class KeptScreen(PassingScreen):
    """Another screen, of which the study's folder keeps what others are to see.

    Sentences, and how each trial ended, go into its log; what a study that prepares is doing, for
    as long as it prepares, where `diffrop status` looks.
    """

    def __init__(
        self, screen: Screen, folder: StudyFolder, preparing: Preparing | None = None
    ) -> None:
        """Show on `screen`; what is said before there is a folder is not kept."""
        super().__init__(screen)
        self._folder, self._preparing = folder, preparing
        self._ended: set[str] = set()

    def show(self, progress: Progress) -> None:
        """Show where the study stands; keep which trials have ended."""
        ended = newly_ended(progress, self._ended)
        self.keep(*(ended_line(trial, progress.objective) for trial in ended))
        super().show(progress)

    def working(self, what: str, share: float | None = None) -> None:
        """Show what is being done, and note it for others."""
        if self._preparing is not None:
            self._preparing.note(what, share)
        super().working(what, share)

    def say(self, sentence: str) -> None:
        """Show and keep a sentence."""
        self.keep(sentence)
        super().say(sentence)

    def keep(self, *lines: str) -> None:
        """Keep lines without showing them."""
        add_to_log(self._folder.log, lines)
