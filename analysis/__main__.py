"""`python -m analysis NAME STUDY` draws a figure; see `analysis.command`."""

import sys

from analysis.command import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
