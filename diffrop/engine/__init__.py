"""One launch of a study."""
