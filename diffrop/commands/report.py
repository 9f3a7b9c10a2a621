"""Write report.html of a study anew; nothing is trained."""

from diffrop.analysis import command
from diffrop.console.call import Call
from diffrop.console.shown import told_apart
from diffrop.console.standing import standing_of

parser = command.report_parser


def main(call: Call) -> int:
    """Write; return the exit code."""
    return command.report_main(call.argv, call.command, standing_of, told_apart)
