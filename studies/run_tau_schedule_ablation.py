"""The same as `diffrop study schedule`."""

import sys

from diffrop.main import script

if __name__ == "__main__":
    sys.exit(script("study schedule", __file__))
