"""Draw figures of finished studies, as PNG and SVG; nothing is trained."""

from diffrop.analysis import command
from diffrop.console.call import Call
from diffrop.console.shown import told_apart
from diffrop.console.standing import standing_of

parser = command.figures_parser


def main(call: Call) -> int:
    """Draw; return the exit code."""
    return command.main(call.argv, call.command, standing_of, told_apart)
