"""The record is read without what studies run on."""

import json
from pathlib import Path

import diffrop.record
from tests.made.processes import run_bare

LARGE = {"mlflow", "pandas", "pyarrow", "ray", "scipy", "sklearn", "torch", "torchvision"}
NAMES = sorted(path.stem for path in Path(diffrop.record.__path__[0]).glob("[!_]*.py"))
PROGRAM = """
import importlib, json, sys
found = {}
for name in sys.argv[1:]:
    importlib.import_module(f"diffrop.record.{name}")
    found[name] = sorted({module.partition(".")[0] for module in sys.modules})
print(json.dumps(found))
"""


def test_record_is_imported_without_large_libraries() -> None:
    names = [*(name for name in NAMES if name != "tables"), "tables"]  # the last one
    loaded = json.loads(run_bare(PROGRAM, *names))
    found = {name: LARGE & set(modules) for name, modules in loaded.items()}
    tables = found.pop("tables")
    assert not any(found.values()), found
    assert "pandas" in tables and not tables & {"mlflow", "ray", "torch", "sklearn"}
