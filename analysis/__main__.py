"""`python -m analysis NAME STUDY` draws a figure; see `diffrop.analysis.command`."""

import sys

from diffrop.analysis.command import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
