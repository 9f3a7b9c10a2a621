"""The study engine: search space, trials, scores, guidance, results."""
