"""Speeds that nobody measured, and a cluster of one node, for plans of cost."""

from diffrop.execution.placement import Node
from diffrop.record.cost import Probe

PROBE = Probe(
    device="cpu",
    num_steps=50,
    train_images_per_s=64.0,
    denoise_images_per_s=160.0,
    feature_images_per_s=40.0,
    fid_s=0.0,
    metrics_s=0.0,
    memory_mib=100.0,
    checkpoint_mib=2.0,
)
NODES: list[Node] = [{"CPU": 2.0, "GPU": 0.0}]
