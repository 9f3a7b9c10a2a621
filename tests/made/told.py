"""A screen that keeps what it is told."""

from rich.console import Console

from diffrop.console.screens import QuietScreen


class ToldScreen(QuietScreen):
    """Shows nothing; keeps what is being done, and on which consoles it would have shown it."""

    def __init__(self) -> None:
        self.told: list[tuple[str, float | None]] = []
        self.on_stderr: list[bool] = []

    @property
    def words(self) -> list[str]:
        """What was done, each time that it was told."""
        return [what for what, _ in self.told]

    def working(self, what: str, share: float | None = None) -> None:
        """Keep it."""
        self.told.append((what, share))

    def opened(self, view: str, console: Console) -> "ToldScreen":
        """Take the place of `open_screen`."""
        self.on_stderr.append(console.stderr)
        return self
