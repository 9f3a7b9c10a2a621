"""What a study's search sampler knew of earlier studies, warm_start.json."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class WarmStartRecord:
    """What warm_start.json holds."""

    notes: tuple[str, ...] = ()
    """One sentence for each earlier study."""
