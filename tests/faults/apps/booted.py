"""What gunicorn is configured with: each worker says when it handles signals.

A worker has the handlers of the arbiter from the fork on until it has its own, and they drop a signal.
"""

import sys


def post_worker_init(worker):
    """Say so; the text is ``BOOTED`` of the servers."""
    print(f"Worker {worker.pid} handles signals", file=sys.stderr, flush=True)
