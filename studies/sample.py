"""The same as `diffrop sample`."""

import sys

from diffrop.main import script

if __name__ == "__main__":
    sys.exit(script("sample", __file__))
