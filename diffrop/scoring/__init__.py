"""Scoring one checkpoint."""
