"""The private parts of Ray that the project uses; no other module touches any.

They are ENABLE_RAY_CLUSTER and ENABLE_RAY_CLUSTERS_ENV_VAR of `ray._private.ray_constants`.
pyproject.toml bounds Ray from above, because a later version may change them without notice.
"""

import os

from ray._private import ray_constants


def set_loopback_only(loopback_only: bool) -> None:
    """Choose whether Ray's servers listen on the loopback interface only.

    Ray has this switch for Windows and macOS alone, read when it is imported and again by every
    process that it starts.
    """
    ray_constants.ENABLE_RAY_CLUSTER = not loopback_only
    os.environ[ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR] = str(int(not loopback_only))
