"""The same as `diffrop classifier`."""

import sys

from diffrop.main import script

if __name__ == "__main__":
    sys.exit(script("classifier", __file__))
