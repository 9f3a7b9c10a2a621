"""What must cost a command line nothing: modules that import no large library."""

import subprocess
import sys

import pytest

LARGE = (
    "torch",
    "torchvision",
    "pandas",
    "scipy",
    "sklearn",
    "pyarrow",
    "ray",
    "mlflow",
    "optuna",
)


@pytest.mark.parametrize(
    "module",
    [
        "diffrop.checkpoint_header",
        "diffrop.config",
        "diffrop.console.last_screen",
        "diffrop.console.study_launch",
        "diffrop.errors",
        "diffrop.metrics",
        "diffrop.metrics.extractors",
        "diffrop.metrics.interval",
        "diffrop.metrics.protocol",
        "diffrop.presets",
        "diffrop.provenance",
        "diffrop.recipes",
        "diffrop.schema",
        "diffrop.seeds",
        "diffrop.shot_groups",
        "diffrop.storage",
        "diffrop.tracking.uri",
        "diffrop.training.checkpoint",
        "diffrop.training.fork",
        "diffrop.training.garbage",
        "diffrop.training.identity",
        "diffrop.training.stop",
        "diffrop.training.store",
    ],
)
def test_module_is_imported_without_large_libraries(module: str) -> None:
    program = f"import sys, {module}; print(*sorted(set({LARGE}) & set(sys.modules)))"
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert found.stdout.split() == []
