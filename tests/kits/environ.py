"""What a program under test inherits."""

import os


def inherited(*left_out):
    """Return the environment of this process without the variables that begin so."""
    return {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
