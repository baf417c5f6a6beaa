"""The load of a run: many requests over few connections, and only an answer of 200 counts."""

import http.client
import threading
from collections.abc import Callable
from typing import Final
from urllib.parse import urlencode

RECORDS_PER_REQUEST: Final = 5
_PAUSE_S: Final = 0.02


class Load:
    """Requests to a server, in threads of their own.

    Every attempt has a fresh name, so that a record is known to belong to the attempt that was
    answered, or to one whose answer was lost.

    Args:
        port: of the server; asked anew for each connection, since a server may be started again.
        requests: how many must be answered with 200.
        connections: how many are made at once.
        query: further arguments of each request.
        records: how many records the application logs for each request before it answers.
        prefix: of the names; must differ between the loads of one run.
        timeout_s: the longest wait for one answer.
    """

    def __init__(
        self,
        port: Callable[[], int],
        *,
        requests: int = 200,
        connections: int = 4,
        query: dict[str, object] | None = None,
        records: int = RECORDS_PER_REQUEST,
        prefix: str = "r",
        timeout_s: float = 30.0,
    ) -> None:
        self._port = port
        self._query = query or {}
        self._records = records
        self._prefix = prefix
        self._timeout_s = timeout_s
        self._numbers = iter(range(requests))
        self._requests = requests
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._answered: list[str] = []
        self._failed: list[str] = []
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(connections)]

    def start(self) -> "Load":
        """Begin."""
        for thread in self._threads:
            thread.start()
        return self

    def reached(self, number: int, limit_s: float) -> bool:
        """Return whether so many requests were answered with 200 within the limit."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self._answered) >= number, limit_s)

    def finish(self, limit_s: float) -> bool:
        """Return whether all were answered within the limit; ends the load in any case."""
        is_done = self.reached(self._requests, limit_s)
        self.stop()
        return is_done

    def stop(self) -> None:
        """End: no new request, and no repetition."""
        self._stop.set()
        for thread in self._threads:
            thread.join(self._timeout_s)

    @property
    def answered(self) -> int:
        """How many requests were answered with 200."""
        return len(self._answered)

    @property
    def accepted(self) -> set[str]:
        """The ids of the records of all requests that were answered with 200."""
        return {id_ for name in list(self._answered) for id_ in self._ids(name)}

    @property
    def uncertain(self) -> set[str]:
        """The ids of records of attempts without such an answer."""
        return {id_ for name in list(self._failed) for id_ in self._ids(name)}

    def _ids(self, name: str) -> list[str]:
        return [f"{name}.{number}" for number in range(self._records)]

    def _run(self) -> None:
        connection: http.client.HTTPConnection | None = None
        while not self._stop.is_set():
            with self._changed:
                request = next(self._numbers, None)
            if request is None:
                break
            attempt = 0
            while not self._stop.is_set():
                name = f"{self._prefix}{request}-{attempt}"
                attempt += 1
                if connection is None:
                    connection = http.client.HTTPConnection(
                        "127.0.0.1", self._port(), timeout=self._timeout_s
                    )
                if self._ask(connection, name):
                    break
                connection.close()
                connection = None
                self._stop.wait(_PAUSE_S)
        if connection is not None:
            connection.close()

    def _ask(self, connection: http.client.HTTPConnection, name: str) -> bool:
        try:
            connection.request(
                "GET", "/work?" + urlencode({"id": name, "records": self._records, **self._query})
            )
            answer = connection.getresponse()
            answer.read()
            is_ok = answer.status == http.client.OK
        except (OSError, http.client.HTTPException):
            is_ok = False
        with self._changed:
            (self._answered if is_ok else self._failed).append(name)
            self._changed.notify_all()
        return is_ok
