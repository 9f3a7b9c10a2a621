"""A Ray Train controller that is slow to die, as on a machine that has too much to do."""

import ctypes
import signal

from ray.train.v2._internal.execution.callback import ControllerCallback
from ray.train.v2._internal.execution.context import TrainRunContext

SLOW_TO_DIE = {
    "RAY_TRAIN_CALLBACKS": "tests.made.slow_controller.SlowToDie",
    "RAY_kill_worker_timeout_milliseconds": "10000",
}
"""Environment of a head: its controllers pass over the request to end, and are killed only later.

Meanwhile they go on with what they do when they find their workers dead.
"""


class SlowToDie(ControllerCallback):
    """Has the process of a controller ignore SIGTERM."""

    def after_controller_start(self, train_run_context: TrainRunContext) -> None:
        # Python's own `signal` works in the main thread alone, and this is another.
        ctypes.CDLL(None).signal(int(signal.SIGTERM), ctypes.c_void_p(1))  # SIG_IGN
