"""The figures of studies: one module a figure, and what they share."""
