"""`python -m analysis` in a checkout is the command `diffrop figures`."""

import sys

from diffrop.analysis.command import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], "python -m analysis"))
