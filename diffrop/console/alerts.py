"""What is told of a study to somebody who does not watch it, by `--notify`.

A screen among others: it sees what the others show, and sends a message when a trial fails for
good, when nothing has moved for a while, and when the budget is near its end; at the end of a
launch, how it ended, and whether a new best was confirmed.
"""

import threading
import time

from diffrop.engine.progress import PassingScreen, Progress, Screen
from diffrop.record.confirmation import ConfirmationRecord
from diffrop.redaction import hide
from diffrop.webhook import Webhook

STILL_S = 3600.0
"""Without any image trained, score or end of a trial: then a message says so."""
NEAR = 0.9
"""Share of the budget from which on it is near its end."""
FLUSH_S = 20.0
"""At the end of a launch, the last messages may take so long."""


class AlertScreen(PassingScreen):
    """Another screen, whose study is also told of by messages."""

    def __init__(
        self,
        screen: Screen,
        study: str,
        webhook: Webhook,
        still_s: float = STILL_S,
        confirmed: int | None = None,
    ) -> None:
        """Show on `screen`, and send messages.

        Args:
            screen: what is shown on.
            study: its name, with which every message begins.
            webhook: where messages go; `finish` closes it.
            still_s: seconds after which a study that does not move is told of.
            confirmed: the trial that was the confirmed best before; None without one.
        """
        super().__init__(screen)
        self._study, self._webhook = study, webhook
        self._still_s, self._best_before = still_s, confirmed
        self._failed: set[str] | None = None
        """Those that are told of, or failed in earlier launches; None before the first look."""
        self._seen: object = None
        self._near = False
        self._lock = threading.Lock()
        self._moved_at: float | None = None
        """None before the first look, and once a standstill was told of."""
        self._over = threading.Event()
        threading.Thread(target=self._watch, name="standstill", daemon=True).start()

    def show(self, progress: Progress) -> None:
        """Show, and tell what has happened since the last time."""
        failed = {trial.label: trial for trial in progress.trainings if trial.state == "FAIL"}
        told = set(failed) if self._failed is None else self._failed
        for label in sorted(failed.keys() - told):
            self._send(f"{failed[label].name} failed for good: {failed[label].message}")
        self._failed = told | set(failed)
        if progress.budget_spent >= NEAR and not self._near:
            self._send(f"{progress.budget_spent:.0%} of the budget is spent. {progress.line}")
        self._near = progress.budget_spent >= NEAR
        if progress.steps != self._seen:
            with self._lock:
                self._seen, self._moved_at = progress.steps, time.monotonic()
        super().show(progress)
        self._say_failures()

    def ended(self, words: str, confirmation: ConfirmationRecord | None) -> None:
        """Tell how a launch ended, and of a best that was confirmed in it.

        Args:
            words: how it ended.
            confirmation: as it stands then.
        """
        self._over.set()
        if confirmation is not None and confirmation.current:
            best = confirmation.best
            if best is not None and best != self._best_before:
                self._send(f"a new best is confirmed, t{best:03d}: {confirmation.conclusion}")
                self._best_before = best
        self._send(words)

    def finish(self) -> None:
        """Send what is left, which takes `FLUSH_S` at most."""
        self._over.set()
        self._webhook.close(FLUSH_S)
        self._say_failures()

    def _watch(self) -> None:
        """Tell of a standstill, also where the driver itself stands still."""
        while not self._over.wait(min(1.0, self._still_s / 4)):
            with self._lock:
                moved_at = self._moved_at
                still = moved_at is not None and time.monotonic() - moved_at >= self._still_s
                if still:
                    self._moved_at = None
            if still:
                self._send(
                    f"nothing has moved for {self._still_s / 60:.3g} minutes: no image was "
                    "trained, nothing was scored, no trial ended."
                )

    def _send(self, words: str) -> None:
        self._webhook.send(hide(f"Study {self._study}: {words}", ""))

    def _say_failures(self) -> None:
        for why in self._webhook.failures():
            self._screen.say(f"A message of --notify was not taken ({why}).")
