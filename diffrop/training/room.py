"""The writes of a training, on a disk that may be full for a while."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from diffrop import distributed
from diffrop.errors import OutageError
from diffrop.patience import Patience, full_disk


@dataclass(frozen=True)
class Room:
    """Lets rank 0 write, and wait for room; every worker learns whether that was in vain."""

    patience: Patience
    device: torch.device

    def write(self, action: Callable[[], object], folder: Path) -> None:
        """Write on rank 0 while the other workers wait.

        Args:
            action: writes into the folder; it may be repeated.
            folder: named if there is no room.

        Raises:
            OutageError: there was no room for longer than is waited for; raised by every worker.
        """
        why = ""
        if distributed.rank() == 0:
            try:
                self.patience.retry(action, full_disk(folder))
            except OutageError as error:
                why = str(error)
        why = distributed.from_rank_0(why, self.device)
        if why:
            raise OutageError(why)
