"""The private parts of Ray that the project uses; no other module touches any.

They are

- of `ray._private`: in `ray_constants` the switch ENABLE_RAY_CLUSTER, the name of its variable and
  RAY_DASHBOARD_STARTUP_TIMEOUT_S; `services.get_node` and `services.ConsolePopen`;
  `utils.set_sigterm_handler`;
- of `ray._common.utils`: the default temporary folder;
- of `ray.train.v2._internal`: the controller's class of worker groups, where a worker group takes
  its placement group from, and the callback that removes placement groups of dead controllers.

pyproject.toml bounds Ray from above, because a later version may change them without notice.
"""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from ray._common.utils import get_default_ray_temp_dir
from ray._private import ray_constants, services, utils
from ray.train.torch import TorchTrainer
from ray.train.v2._internal.callbacks.placement_group_callback import (
    PlacementGroupCleanerCallback,
)
from ray.train.v2._internal.execution.callback import ControllerCallback, RayTrainCallback
from ray.train.v2._internal.execution.context import TrainRunContext
from ray.train.v2._internal.execution.controller import TrainController
from ray.train.v2._internal.execution.worker_group import WorkerGroup, WorkerGroupContext
from ray.train.v2._internal.execution.worker_group.placement_group_handle import (
    DefaultPlacementGroupHandle,
)
from ray.train.v2.api.config import ScalingConfig
from ray.util.placement_group import get_current_placement_group

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
        try:
            yield
        finally:
            for number, handler in handlers.items():  # Ray's core has set its own
                signal.signal(number, handler)


def default_folder() -> Path:
    """Return the folder in which Ray puts its files if it is not told another."""
    return Path(get_default_ray_temp_dir())


@contextlib.contextmanager
def start_limit(limit_s: float) -> Iterator[None]:
    """Around `ray.init`: give each part of a local cluster so long to start.

    Ray gives the node 30 s, a number in the midst of its code, and each of the others as much or
    twice that by settings.

    Raises:
        TimeoutError: the node did not start in time.
    """
    variables = {
        "RAY_gcs_server_port_wait_time_s": str(round(limit_s)),
        "RAY_agent_register_timeout_ms": str(round(limit_s * 1000)),
    }
    ask = services.get_node

    def wait_for_node(gcs_address: str, node_id: str) -> Any:
        end = time.monotonic() + limit_s
        while True:
            try:
                return ask(gcs_address, node_id)
            except RuntimeError as error:  # it has not registered yet
                if time.monotonic() > end:
                    raise TimeoutError(f"its node was not up in {limit_s:g} s") from error
                time.sleep(0.5)

    with (
        mock.patch.dict(os.environ, variables),
        mock.patch.object(services, "get_node", wait_for_node),
        mock.patch.object(ray_constants, "RAY_DASHBOARD_STARTUP_TIMEOUT_S", limit_s),
    ):
        yield


class WorkerGroupTrainer(TorchTrainer):
    """A Ray Train run that leaves no reservation behind, and within a trial makes none.

    Ray Train reserves a placement group of its own. When Tune stops a trial, it kills the run's
    controller; one that is slow to die sees its workers dead, reserves a second group, and
    nothing removes that before the whole study ends. In the trial's own group, whatever the run
    starts ends with the trial, and so does the reservation. Outside of trials it ends with the
    program; the process that Ray Train leaves on the cluster to see to that is not needed.
    """

    def _create_default_callbacks(self) -> list[RayTrainCallback]:
        callbacks = super()._create_default_callbacks()
        kept = [item for item in callbacks if not isinstance(item, PlacementGroupCleanerCallback)]
        return [*kept, _UseTrialsPlacement()] if in_trial() else kept


def in_trial() -> bool:
    """Return whether this process is a trial's, in the placement group that Tune made for it."""
    return get_current_placement_group() is not None


class _UseTrialsPlacement(ControllerCallback):
    """Has the controller, in whose process it is called, place its workers in the trial."""

    def after_controller_start(self, train_run_context: TrainRunContext) -> None:
        TrainController.worker_group_cls = _TrialWorkerGroup


class _TrialWorkerGroup(WorkerGroup):
    """Workers in the placement group in which their controller runs, one in each bundle."""

    def _create_placement_group(
        self, scaling_config: ScalingConfig, worker_group_context: WorkerGroupContext
    ) -> "_TrialsPlacement":
        group = get_current_placement_group()
        assert group is not None  # Tune captures in it what a trial starts
        return _TrialsPlacement(group)


class _TrialsPlacement(DefaultPlacementGroupHandle):
    """The trial's placement group, which is Tune's to remove."""

    def shutdown(self) -> None:
        """Leave it as it is."""
