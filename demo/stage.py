"""What is started: the local hub, and three applications under real servers."""

import http.client
import os
import secrets
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from demo.processes import DemoError, Processes, Server
from demo.visits import DJANGO_SHOP, FLASK_SHOP, Shop

ROOT: Final = Path(__file__).resolve().parent.parent
_START_LIMIT_S: Final = 60.0
_POLL_S: Final = 0.1
_FIRST_LOOKS: Final = 4
#: The port that the system chose, in the first lines of gunicorn and uvicorn.
_LISTENING: Final = r"(?:Listening at:|running on) http://127\.0\.0\.1:(\d+)"
#: What is set on this machine for other programs must not change the demo.
_NOT_INHERITED: Final = (
    *("LOG_", "FILE_LOG", "EVENTHUB_", "OTEL_"),
    *("FLASK_", "DJANGO_", "SHOP_", "GUNICORN_", "CELERY_"),
)

_GUNICORN: Final = (
    *(sys.executable, "-m", "gunicorn", "--bind", "127.0.0.1:0", "--workers", "2"),
    "--no-control-socket",  # it would lie in the home directory
)
_UVICORN: Final = (sys.executable, "-m", "uvicorn", "--host", "127.0.0.1", "--port", "0", "--workers", "2")


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """One application under its server.

    Attributes:
        name: the ``service_name`` of its records.
        title: what it is.
        folder: its project.
        command: starts the server on a free port.
        shop: where it has what.
    """

    name: str
    title: str
    folder: Path
    command: tuple[str, ...]
    shop: Shop


APPLICATIONS: Final = (
    Application(
        name="shop-flask",
        title="Flask under gunicorn",
        folder=ROOT / "example_flask",
        command=(*_GUNICORN, "--threads", "4", "shop:create_app()"),
        shop=FLASK_SHOP,
    ),
    Application(
        name="shop-django-wsgi",
        title="Django under gunicorn",
        folder=ROOT / "example_django",
        command=(*_GUNICORN, "shopsite.wsgi"),
        shop=DJANGO_SHOP,
    ),
    Application(
        name="shop-django-asgi",
        title="Django under uvicorn (ASGI)",
        folder=ROOT / "example_django",
        command=(*_UVICORN, "shopsite.asgi:application"),
        shop=DJANGO_SHOP,
    ),
)


@dataclass(frozen=True, slots=True)
class Running:
    """An application that serves."""

    application: Application
    server: Server
    port: int


class Stage:
    """Starts hub and applications.

    Args:
        processes: takes what is started.
        folder: everything that they write goes below it.
        password: of the customer who can sign in to the Django shop.
        hub_port: of the hub; 0 for a free one.

    Attributes:
        token: opens the status pages of the applications.
    """

    def __init__(
        self,
        processes: Processes,
        folder: Path,
        *,
        password: str,
        hub_port: int = 0,
    ) -> None:
        self._processes = processes
        self._folder = folder
        self.token = secrets.token_urlsafe()
        self._environ = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(_NOT_INHERITED) and name not in {"WEB_CONCURRENCY", "UVICORN_WORKERS"}
        } | {
            "PYTHONUNBUFFERED": "1",
            "FLASK_DATABASE_URL": f"sqlite:///{folder / 'flask.sqlite3'}",
            "SHOP_DATABASE": str(folder / "django.sqlite3"),
            "SHOP_PASSWORD": password,
            # The count of what was accepted: the file has what the hub should get, and no more.
            "FILE_LOG_LEVEL": "INFO",
            "LOG_STATUS_TOKEN": self.token,
            # The hub should get what was logged, and no more.
            "EVENTHUB_LOG_HEARTBEAT_SECONDS": "0",
        }
        self._hub_port = str(hub_port)

    @property
    def logs(self) -> Path:
        """The log files of all applications."""
        return self._folder / "logs"

    @property
    def data(self) -> Path:
        """What the hub keeps."""
        return self._folder / "hub"

    def start_hub(self) -> Server:
        """Start ``hublog local`` on a free port, and let the applications use it."""
        ready = self._folder / "hub-is-ready"
        ready.unlink(missing_ok=True)
        command = [str(hublog_command()), "local", "--port", self._hub_port, "--data-dir", str(self.data)]
        hub = self._processes.start(
            "hub", [*command, "--ready-file", str(ready)], folder=ROOT, environ=self._environ
        )
        _wait(ready.exists, hub, "write its ready file")
        self._environ["EVENTHUB_NAMESPACE_CONNECTION_STRING"] = ready.read_text().strip()
        return hub

    def prepare_shops(self) -> None:
        """Make databases, products and a customer, with the commands that the shops have for it."""
        flask, django, _ = APPLICATIONS
        manage = (sys.executable, "manage.py")
        for name, application, command in (
            ("flask init-db", flask, (sys.executable, "-m", "flask", "--app", "shop", "init-db")),
            ("django migrate", django, (*manage, "migrate", "--verbosity", "0")),
            ("django open_shop", django, (*manage, "open_shop")),
        ):
            self._processes.run(
                name, command, folder=application.folder, environ=self._environ_of(application)
            )

    def start(self, application: Application, settings: Mapping[str, str] | None = None) -> Server:
        """Start an application, with further variables of its own."""
        return self._processes.start(
            application.name,
            application.command,
            folder=application.folder,
            environ=self._environ_of(application) | dict(settings or {}),
        )

    def wait_until_serving(self, application: Application, server: Server) -> Running:
        """Return when it answers."""
        found = server.wait_for_output(_LISTENING, limit_s=_START_LIMIT_S)
        port = int(found[1])
        # A page that is logged, as whoever deploys would open one, so often that it meets each worker: its
        # records open the connection.
        for _ in range(_FIRST_LOOKS):
            _wait(lambda: _answers(port, application.shop.report), server, "answer")
        return Running(application, server, port)

    def _environ_of(self, application: Application) -> dict[str, str]:
        return self._environ | {
            "LOG_SERVICE_NAME": application.name,
            "LOG_DIR": str(self.logs / application.name),
        }


def open_page(port: int, path: str, token: str = "") -> int:
    """Return the status of the answer to a request; OSError if there is none."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_START_LIMIT_S)
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"} if token else {})
        return connection.getresponse().status
    finally:
        connection.close()


def hublog_command() -> Path:
    """Return the path of the command ``hublog`` of this environment."""
    return Path(sys.executable).with_name("hublog")


def _wait(is_done: Callable[[], bool], server: Server, what: str) -> None:
    end = time.monotonic() + _START_LIMIT_S
    while not is_done():
        server.check_alive()
        if time.monotonic() > end:
            raise DemoError(f"{server.name} did not {what} within {_START_LIMIT_S:.0f} s.\n{server.tail()}")
        time.sleep(_POLL_S)


def _answers(port: int, path: str) -> bool:
    try:
        return open_page(port, path) == http.client.OK
    except OSError:
        return False
