"""What a study leaves on disk: its only reader and writer."""
