"""`python -m diffrop` is the command `diffrop`, also where that is not on the PATH."""

import sys

from diffrop.main import run

if __name__ == "__main__":
    sys.exit(run(sys.argv[1:], "python -m diffrop"))
