"""The same as `diffrop score`."""

import sys

from diffrop.main import script

if __name__ == "__main__":
    sys.exit(script("score", __file__))
