"""Command lines of the servers; each listens on a port that the system chooses, and prints it."""

import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

#: How the servers print where they listen.
PORT: Final = (
    r"(?:Listening at: http://|Listening on TCP address |[Rr]unning on http://"
    r"|bound to TCP address )127\.0\.0\.1:(\d+)"
)
ANY_PORT: Final = "127.0.0.1:0"
#: What gunicorn prints for each worker that it starts.
BOOTING: Final = "Booting worker"
#: What each worker of gunicorn prints when it can be told to end; see ``apps/booted.py``.
BOOTED: Final = "handles signals"
#: Stands for a port that is chosen before the start, where a server does not print the one that it took.
CHOSEN: Final = "{port}"


def gunicorn(*options: str, app: str = "wsgi:app", workers: int = 2) -> list[str]:
    """Return gunicorn's command line."""
    return [
        *(sys.executable, "-m", "gunicorn", "--bind", ANY_PORT, "--workers", str(workers)),
        *("--config", "python:booted", "--no-control-socket", "--graceful-timeout", "8", *options, app),
    ]


def booting(command: Sequence[str]) -> int:
    """Return how many workers of a command say that they have booted."""
    return int(command[command.index("--workers") + 1]) if "gunicorn" in command else 0


def uvicorn(*options: str) -> list[str]:
    """Return uvicorn's command line."""
    return [sys.executable, "-m", "uvicorn", "--host", "127.0.0.1", "--port", "0", *options, "asgi:app"]


def uwsgi(*options: str) -> list[str]:
    """Return uWSGI's command line; its program lies beside the interpreter."""
    return [
        str(Path(sys.executable).with_name("uwsgi")),
        *("--http-socket", ANY_PORT, "--virtualenv", sys.prefix, "--module", "wsgi:app", "--need-app"),
        *("--master", "--processes", "2", "--die-on-term", *options),
    ]


def hypercorn() -> list[str]:
    """Return hypercorn's command line."""
    return [sys.executable, "-m", "hypercorn", "--bind", ANY_PORT, "--workers", "2", "asgi:app"]


def daphne() -> list[str]:
    """Return daphne's command line."""
    return [sys.executable, "-m", "daphne", "--bind", "127.0.0.1", "--port", "0", "asgi:app"]


def waitress() -> list[str]:
    """Return waitress's command line."""
    return [sys.executable, "-m", "waitress", f"--listen=127.0.0.1:{CHOSEN}", "wsgi:app"]


def flask(*options: str) -> list[str]:
    """Return the command line of Flask's own server."""
    return [sys.executable, "-m", "flask", "--app", "wsgi", "run", "--port", CHOSEN, *options]


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def answers(port: int) -> bool:
    """Return whether somebody takes connections there."""
    try:
        with socket.create_connection(("127.0.0.1", port), 1.0):
            return True
    except OSError:
        return False


def runserver() -> list[str]:
    """Return the command line of Django's own server."""
    return [sys.executable, "-m", "djangoapp", "runserver", f"127.0.0.1:{CHOSEN}"]
