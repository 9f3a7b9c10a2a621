"""Figures, tables and the report of a study, from its stored results."""
