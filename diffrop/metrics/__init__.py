"""Feature extractors, the Frechet distance, and the per-shot report."""
