"""Checkpoints for other libraries: a folder that diffusers loads."""

from diffrop.export.convert import export_pipeline

__all__ = ["export_pipeline"]
