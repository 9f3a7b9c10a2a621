"""What a study takes: probed, planned, actual, bounded."""
