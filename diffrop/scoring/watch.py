"""What tells how far a score is while it is made."""

import math
import time
from collections.abc import Callable, Sequence

from diffrop.record.scoring_now import Part, ScoringNow
from diffrop.scoring.sampling_search import Round
from diffrop.study.sampling_choice import SamplingChoice

NOTED_EVERY_S = 2.0

Note = Callable[[ScoringNow], object]
"""Takes how far a score is, every few seconds."""


class ScoringWatch:
    """Counts what is drawn and looked at, and times it, so that the time left can be told."""

    def __init__(
        self,
        images_seen: int,
        rounds: Sequence[Round],
        num_images: int,
        note: Note,
        every_s: float = NOTED_EVERY_S,
    ) -> None:
        """Begin to count.

        Args:
            images_seen: by the checkpoint that is scored.
            rounds: of the search of sampling choices.
            num_images: that are drawn in all, at most.
            note: takes how far it is.
            every_s: seconds between notes.
        """
        self._images_seen, self._rounds, self._num_images = images_seen, rounds, num_images
        self._note, self._every_s = note, every_s
        self._began, self._noted_at = time.monotonic(), -math.inf
        self._round, self._sampler, self._omega = 1, "", 0.0
        self._part: Part = "sampling"
        self._part_began = self._began
        self._drawn = self._extracted = 0
        """Images that are through."""
        self._images, self._pieces, self._looked = 0, 1, 0
        """Of what is being done: its images, its pieces, and how many of these have begun."""
        self._seconds = {"sampling": 0.0, "features": 0.0, "metrics": 0.0}

    def draw(self, choice: SamplingChoice, num_samples: int) -> None:
        """Begin with a candidate, in the round with so many samples of each."""
        sizes = [current.num_samples for current in self._rounds]
        self._round = sum(size < num_samples for size in sizes[:-1]) + 1
        self._sampler, self._omega = choice.sampler, choice.omega

    def begin(self, part: Part, images: int, pieces: int) -> None:
        """Begin a part, of so many images in so many pieces, each of which is looked at."""
        self._part, self._part_began = part, time.monotonic()
        self._images, self._pieces, self._looked = images, max(1, pieces), 0
        self._note_if_due()

    def end(self) -> None:
        """End the part that was begun."""
        now = time.monotonic()
        self._seconds[self._part] += now - self._part_began
        self._part_began = now
        if self._part == "sampling":
            self._drawn += self._images
        elif self._part == "features":
            self._extracted += self._images
        self._images = self._looked = 0

    def look(self) -> None:
        """Count a piece that begins, and note how far all is, if the last note is old."""
        self._looked += 1
        self._note_if_due()

    def _note_if_due(self) -> None:
        if time.monotonic() - self._noted_at >= self._every_s:
            self._noted_at = time.monotonic()
            self._note(self.now)

    @property
    def now(self) -> ScoringNow:
        """How far the score is."""
        return ScoringNow(
            images_seen=self._images_seen,
            round=self._round,
            num_rounds=len(self._rounds),
            sampler=self._sampler,
            omega=self._omega,
            part=self._part,
            images=self._done("sampling"),
            num_images=self._num_images,
            seconds=time.monotonic() - self._began,
            seconds_left=self._seconds_left(),
        )

    def _done(self, part: Part) -> float:
        """Return the images that are through a part, the share of those in it included."""
        done = float(self._drawn if part == "sampling" else self._extracted)
        if part == self._part:
            done += self._images * min(1.0, max(0, self._looked - 1) / self._pieces)
        return done

    def _seconds_left(self) -> float | None:
        """Return the seconds that sampling and features still take, at their speed so far."""
        left = 0.0
        for part in ("sampling", "features"):
            done, spent = self._done(part), self._seconds[part]
            if part == self._part:
                spent += time.monotonic() - self._part_began
            if done:
                left += spent / done * max(0.0, self._num_images - done)
            elif part == "sampling":
                return None
        return left if left or self._part != "metrics" else None


def pieces_of(num_images: int, batch_size: int, each: int = 1) -> int:
    """Return in how many pieces images are done: batches, each of so many."""
    return math.ceil(num_images / batch_size) * each
