import subprocess
import sys

from diffrop import metrics


def test_every_public_name_comes_from_one_module() -> None:
    names = [name for names in metrics.NAMES_OF_MODULE.values() for name in names]
    assert sorted(names) == sorted(metrics.__all__)
    assert not set(names) & metrics.NAMES_OF_MODULE.keys()


def test_public_names_are_those_of_their_modules() -> None:
    for name in metrics.__all__:
        value = getattr(metrics, name)
        assert value.__name__ == name
        assert value.__module__ == f"diffrop.metrics.{metrics.MODULE_OF_NAME[name]}"


def test_metrics_are_usable_without_the_training() -> None:
    program = "import sys; from diffrop.metrics import *; print(*sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    loaded = [name for name in found.stdout.split() if name.startswith("diffrop.")]
    assert "diffrop.metrics.report" in loaded
    allowed = ("diffrop.metrics", "diffrop.data", "diffrop.checkpoint_")
    others = [name for name in loaded if not name.startswith(allowed)]
    assert not [name for name in others if name.count(".") > 1]
