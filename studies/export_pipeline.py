"""The same as `diffrop export`."""

import sys

from diffrop.main import script

if __name__ == "__main__":
    sys.exit(script("export", __file__))
