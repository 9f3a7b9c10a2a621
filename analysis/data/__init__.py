"""What a study left, as tidy frames, and which of its trials compare."""
