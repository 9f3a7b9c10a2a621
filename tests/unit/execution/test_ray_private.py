import os

import pytest
from ray._private import ray_constants

from diffrop.execution.ray_private import set_loopback_only


@pytest.mark.parametrize("loopback_only", [True, False])
def test_this_process_and_those_it_starts_are_told_where_to_listen(
    monkeypatch: pytest.MonkeyPatch, loopback_only: bool
) -> None:
    name = ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR
    monkeypatch.setenv(name, "")
    monkeypatch.setattr(ray_constants, "ENABLE_RAY_CLUSTER", None)
    set_loopback_only(loopback_only)
    assert ray_constants.ENABLE_RAY_CLUSTER is not loopback_only
    assert os.environ[name] == ("0" if loopback_only else "1")
