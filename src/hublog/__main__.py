"""``python -m hublog`` is the command ``hublog``."""

import sys

from hublog.cli import main

if __name__ == "__main__":
    sys.exit(main())
