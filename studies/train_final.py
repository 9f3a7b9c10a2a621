"""The same as `diffrop train`."""

import sys

from diffrop.main import script

if __name__ == "__main__":
    sys.exit(script("train", __file__))
