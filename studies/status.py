"""The same as `diffrop status`."""

import sys

from diffrop.main import script

if __name__ == "__main__":
    sys.exit(script("status", __file__))
