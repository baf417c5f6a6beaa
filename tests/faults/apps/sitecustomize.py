"""Imports the package before ``logging`` where a run asks for that; Python loads this before all else.

The order decides on the order of the hooks of a fork and of the exit. In every other program of this
harness ``probe`` imports ``logging`` first.
"""

import os

if os.environ.get("FAULTS_ORDER") == "hublog":
    import atexit
    import sys

    def write_book():
        """Write the book of this process, if it is a program of the harness."""
        probe = sys.modules.get("probe")
        if probe is not None and probe.HAS_BOOK:
            probe.book()

    atexit.register(write_book)  # before the package's own hook, so that it runs behind it
    import hublog  # noqa: F401  # the order is all that is wanted
