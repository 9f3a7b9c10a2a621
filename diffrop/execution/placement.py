"""Where the workers of a trial fit: each of them on one node, whatever the cluster has in all."""

import math
from collections.abc import Mapping, Sequence

from diffrop.errors import ResourceError
from diffrop.study.config import LaunchConfig

Node = Mapping[str, float]
"""What a node has: {"CPU": 8, "GPU": 1, ...}, as Ray names it."""


def worker_slots(node: Node, launch: LaunchConfig) -> int:
    """Return how many workers of a launch fit on a node; a share of a GPU is of one GPU."""
    slots = int(node.get("CPU", 0.0) // launch.cpus_per_worker)
    gpus, share = node.get("GPU", 0.0), launch.gpus_per_worker
    if share == 0:
        return slots
    per_gpu = math.floor(1 / share + 1e-9)
    return min(slots, int(gpus) * per_gpu if share < 1 else int(gpus // share))


def trials_at_once(nodes: Sequence[Node], launch: LaunchConfig) -> int:
    """Return how many trials fit at a time; 0 if not even one ever does."""
    return sum(worker_slots(node, launch) for node in nodes) // launch.workers_per_trial


def check_placement(nodes: Sequence[Node], launch: LaunchConfig) -> None:
    """Raise ResourceError if no trial ever fits, however many CPUs and GPUs there are in all."""
    if trials_at_once(nodes, launch) == 0:
        raise ResourceError(
            f"{placement_sentence(nodes, launch)[:-1]}; allowed: fewer or smaller workers, or "
            "larger nodes"
        )


def placement_sentence(nodes: Sequence[Node], launch: LaunchConfig) -> str:
    """Return what a trial asks for, and whether there is room for it."""
    workers, share = launch.workers_per_trial, launch.gpus_per_worker
    need = f"{launch.cpus_per_worker} CPU(s)" + (f" and {share:g} GPU(s)" if share else "")
    asked = f"A trial takes {workers} worker(s) of {need}, each on one node; "
    slots = sorted((worker_slots(node, launch) for node in nodes), reverse=True)
    if fitting := sum(slots) // workers:
        return f"{asked}{len(nodes)} node(s) have room for {fitting} at a time."
    most = "; ".join(
        f"{node.get('CPU', 0):g} CPUs, {node.get('GPU', 0):g} GPUs" for node in list(nodes)[:3]
    )
    return (
        f"{asked}it can NEVER be placed: {len(nodes)} node(s) ({most or 'none'}) have room for "
        f"{sum(slots)} worker(s)."
    )


def units_per_trial(launch: LaunchConfig) -> float:
    """Return what a trial holds of what a budget counts: GPUs, or workers without GPUs."""
    workers = launch.workers_per_trial
    return workers * launch.gpus_per_worker or float(workers)
