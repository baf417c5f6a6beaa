"""The example applications, started under their servers with some destinations, or without hublog."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.requests.loggers import DESTINATIONS
from benchmarks.servers.without_hublog import write_package

ROOT: Final = Path(__file__).parents[2]
#: The application without hublog.
BARE: Final = "bare"
_START_S: Final = 60
_FLASK_ORDER: Final = """
from shop import create_app, database
from shop.models import Base, Order, Product
with create_app().app_context():
    session = database.session()
    Base.metadata.create_all(session.connection())
    session.add(Product(sku="tea", price_cents=450, in_stock=9))
    session.add(Order(sku="tea", quantity=2, total_cents=900))
    session.commit()
"""
_DJANGO_ORDER: Final = """
import django
django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
from orders.models import Order, Product
tea = Product.objects.create(sku="tea", price_cents=450, in_stock=9)
Order.objects.create(product=tea, quantity=2, total_cents=900)
"""


class Example(NamedTuple):
    """An example application under a server.

    Attributes:
        folder: of the application.
        path: that is asked for; the view makes one query.
        order: a script that makes the database, and the order.
        command: starts the server, ``{port}`` to be filled in.
        has_worker: whether the server starts a process of its own for the application.
    """

    folder: Path
    path: str
    order: str
    command: tuple[str, ...]
    has_worker: bool


_GUNICORN: Final = ("gunicorn", "--workers", "1", "--threads", "4", "--bind", "127.0.0.1:{port}")
_UVICORN: Final = (
    "uvicorn",
    "shopsite.asgi:application",
    "--port",
    "{port}",
    "--no-access-log",
    "--log-level",
    "warning",
)
EXAMPLES: Final = {
    "flask": Example(ROOT / "example_flask", "/orders/1", _FLASK_ORDER, _GUNICORN, has_worker=True),
    "django": Example(ROOT / "example_django", "/orders/1/", _DJANGO_ORDER, _GUNICORN, has_worker=True),
    "uvicorn": Example(ROOT / "example_django", "/orders/1/", _DJANGO_ORDER, _UVICORN, has_worker=False),
}


class Server:
    """A server that was started; ``wait`` has to be called before the rest.

    Args:
        process: what was started.
        example: what it serves.
        port: where it listens.
        errors: what it writes to standard error.
    """

    def __init__(
        self, process: subprocess.Popen[bytes], example: Example, *, port: int, errors: Path
    ) -> None:
        self.url = f"http://127.0.0.1:{port}{example.path}"
        self._process = process
        self._pid = process.pid
        self._has_worker = example.has_worker
        self._errors = errors

    def wait(self) -> None:
        """Wait until a request is answered.

        Raises:
            RuntimeError: none is; what the server says is in it.
        """
        until = time.monotonic() + _START_S
        while True:
            try:
                with urllib.request.urlopen(self.url, timeout=10) as answer:  # noqa: S310  # of this machine
                    answer.read()
                    break
            except OSError as error:
                if self._process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError(f"{self.url}: {self._errors.read_text()}") from error
                time.sleep(0.1)
        if self._has_worker:
            master = self._process.pid
            (worker,) = Path(f"/proc/{master}/task/{master}/children").read_text().split()
            self._pid = int(worker)

    def cpu_s(self) -> float:
        """Return the CPU seconds that the worker has used so far, in user and kernel mode."""
        fields = Path(f"/proc/{self._pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def make_database(example: Example, folder: Path) -> Path:
    """Make the database of an example with one order, and return its path."""
    path = folder / "shop.sqlite3"
    environ = {**os.environ, **_environ(BARE, folder, path, connection="")}
    subprocess.run(
        [sys.executable, "-c", example.order],
        cwd=example.folder,
        env=environ,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return path


@contextmanager
def started(
    example: Example, variant: str, folder: Path, *, database: Path, connection: str
) -> Iterator[Server]:
    """Start an example, and stop it at the end.

    Args:
        example: of ``EXAMPLES``.
        variant: of ``DESTINATIONS``, or ``bare``.
        folder: of log file and spool; is made.
        database: that was made for the example; it is read only.
        connection: of the hub.
    """
    folder.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    with (
        (folder / "errors.txt").open("w") as errors,
        subprocess.Popen(
            [sys.executable, "-m", *(part.format(port=port) for part in example.command)],
            cwd=example.folder,
            env={**os.environ, **_environ(variant, folder, database, connection)},
            stdout=subprocess.DEVNULL,
            stderr=errors,
        ) as process,
    ):
        try:
            yield Server(process, example, port=port, errors=folder / "errors.txt")
        finally:
            process.terminate()


def _environ(variant: str, folder: Path, database: Path, connection: str) -> Mapping[str, str]:
    environ = {
        "FLASK_DATABASE_URL": f"sqlite:///{database}",
        "SHOP_DATABASE": str(database),
        "DJANGO_SETTINGS_MODULE": "shopsite.settings",
        "LOG_DIR": f"{folder}/logs",
        "EVENTHUB_NAMESPACE_CONNECTION_STRING": connection,
        "EVENTHUB_LOG_HEARTBEAT_SECONDS": "0",
        "PYTHONPATH": "",
    }
    if variant == BARE:
        write_package(folder)
        return {**environ, "PYTHONPATH": str(folder)}
    console, file, hub = map(str, DESTINATIONS[variant])
    return {
        **environ,
        "LOG_TO_STDOUT": console,
        "FILE_LOGGING_ENABLED": file,
        "EVENTHUB_LOGGING_ENABLED": hub,
    }


@contextmanager
def local_hub(folder: Path) -> Iterator[str]:
    """Run the development hub in a process of its own; yield its connection string."""
    ready = folder / "connection"
    command = ("hublog", "local", "--port", "0", "--quiet", "--data", str(folder / "data"))
    with subprocess.Popen(
        [sys.executable, "-m", *command, "--ready-file", str(ready)], stdout=subprocess.DEVNULL
    ) as process:
        try:
            until = time.monotonic() + _START_S
            while not ready.exists():
                assert process.poll() is None, "the local hub has ended"
                assert time.monotonic() < until, "the local hub does not start"
                time.sleep(0.05)
            yield ready.read_text().strip()
        finally:
            process.terminate()
