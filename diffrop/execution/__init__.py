"""Running one task on Ray."""
