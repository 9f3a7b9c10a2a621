"""The evidence behind RESULTS.md: what was trained, the table of it, and what it says."""
