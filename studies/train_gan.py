"""The same as `diffrop gan`."""

import sys

from diffrop.main import script

if __name__ == "__main__":
    sys.exit(script("gan", __file__))
