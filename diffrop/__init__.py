"""DiffROP studies: hyperparameter search for diffusion models on long-tailed images.

`diffrop.Study` runs a study from Python; its modules are imported when it is asked for.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diffrop.notebook import Result, Study, read_result

__all__ = ["Result", "Study", "read_result"]


def __getattr__(name: str) -> Any:
    """Import the interface for notebooks when a name of it is asked for."""
    if name in __all__:
        from diffrop import notebook

        return getattr(notebook, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
