"""``python -m bayesjoint``."""

import sys

from bayesjoint.cli import main

if __name__ == "__main__":
    sys.exit(main())
