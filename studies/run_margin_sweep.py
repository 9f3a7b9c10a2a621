"""The same as `diffrop study margin`."""

import sys

from diffrop.main import script

if __name__ == "__main__":
    sys.exit(script("study margin", __file__))
