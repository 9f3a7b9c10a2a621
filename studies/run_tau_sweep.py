"""The same as `diffrop study tau`."""

import sys

from diffrop.main import script

if __name__ == "__main__":
    sys.exit(script("study tau", __file__))
