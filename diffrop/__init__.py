"""DiffROP studies: hyperparameter search for diffusion models on long-tailed images."""
