"""The paper's GAN baselines and its long-tail classifier: same data, same report."""
