"""The diffusion process, its training objective and its samplers."""
