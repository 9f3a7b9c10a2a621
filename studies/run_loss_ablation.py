"""The same as `diffrop study loss`."""

import sys

from diffrop.main import script

if __name__ == "__main__":
    sys.exit(script("study loss", __file__))
