"""The short names of trials, as folders, tables and figures have them."""


def trial_name(number: int) -> str:
    """Return the short name of a trial, such as t007."""
    return f"t{int(number):03d}"
