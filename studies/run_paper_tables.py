"""The same as `diffrop tables`."""

import sys

from diffrop.main import script

if __name__ == "__main__":
    sys.exit(script("tables", __file__))
