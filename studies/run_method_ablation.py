"""The same as `diffrop study method`."""

import sys

from diffrop.main import script

if __name__ == "__main__":
    sys.exit(script("study method", __file__))
