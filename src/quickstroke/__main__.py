"""`python -m quickstroke`: the same as the command `quickstroke`."""

import sys

from quickstroke.cli import main

if __name__ == "__main__":
    sys.exit(main())
