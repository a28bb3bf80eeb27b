"""Write a file for the other ArviZ to read: ``python tests/seam/exchange.py FILE.nc``."""

import sys

from loaded import found, groups, seam

if __name__ == "__main__":
    seam.save_groups({**groups(), "found": found()}, sys.argv[1])
