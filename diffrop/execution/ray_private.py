"""The private parts of Ray that the project uses; no other module touches any.

They are ENABLE_RAY_CLUSTER and ENABLE_RAY_CLUSTERS_ENV_VAR of `ray._private.ray_constants`,
ConsolePopen of `ray._private.services` and set_sigterm_handler of `ray._private.utils`.
pyproject.toml bounds Ray from above, because a later version may change them without notice.
"""

import contextlib
import os
import signal
from collections.abc import Iterator
from typing import Any
from unittest import mock

from ray._private import ray_constants, services, utils

from diffrop.signals import ENDING


def set_loopback_only(loopback_only: bool) -> None:
    """Choose whether Ray's servers listen on the loopback interface only.

    Ray has this switch for Windows and macOS alone, read when it is imported and again by every
    process that it starts.
    """
    ray_constants.ENABLE_RAY_CLUSTER = not loopback_only
    os.environ[ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR] = str(int(not loopback_only))


class _PopenApart(services.ConsolePopen):
    """What starts one of Ray's processes, in a session of its own."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, start_new_session=True, **options)


@contextlib.contextmanager
def signals_left_to_us() -> Iterator[None]:
    """Around `ray.init`: keep signals to this program away from Ray.

    Ray's processes are started in sessions of their own. A signal to this process group (Ctrl-C,
    `timeout`, SLURM, a closed terminal) would otherwise end them before any trial has saved. They
    still end with this process, however it ends. Nor does Ray answer SIGTERM in this process.
    """
    handlers = {number: signal.getsignal(number) for number in ENDING}
    with (
        mock.patch.object(services, "ConsolePopen", _PopenApart),
        mock.patch.object(utils, "set_sigterm_handler", lambda handler: None),
    ):
        yield
    for number, handler in handlers.items():  # Ray's core has set its own
        signal.signal(number, handler)
