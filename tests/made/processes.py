"""Running code in a bare Python process, which has imported nothing of ours."""

import os
import subprocess
import sys

from tests.made.small import ROOT

HEAVY = ("torch", "ray", "mlflow", "pandas", "matplotlib", "scipy", "pyarrow", "sklearn")
"""What takes seconds to import."""


def run_bare(code: str, *arguments: str) -> str:
    """Run code in a new process in the project's folder; return what it prints.

    Args:
        code: Python; it finds the arguments in sys.argv[1:].
        arguments: of the code.
    """
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
