"""The same as `diffrop study guidance`."""

import sys

from diffrop.main import script

if __name__ == "__main__":
    sys.exit(script("study guidance", __file__))
