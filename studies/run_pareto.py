"""The same as `diffrop study pareto`."""

import sys

from diffrop.main import script

if __name__ == "__main__":
    sys.exit(script("study pareto", __file__))
