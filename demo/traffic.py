"""Sends the requests, each with a W3C traceparent of its own, and keeps what came back."""

import contextlib
import http.client
import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from typing import Final

from demo.visits import Call, Visit

_ANSWER_LIMIT_S: Final = 30.0
_CONNECTION_FAILED: Final = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """A request and what came back.

    Attributes:
        status: HTTP status; 0 means no answer.
        expected: the status that the shop should give.
        detail: why there was no answer.
    """

    application: str
    trace_id: str
    method: str
    path: str
    status: int
    expected: int
    duration_ms: float
    detail: str = ""


@dataclass(slots=True)
class Customer:
    """One visitor of one shop, with cookies."""

    application: str
    port: int
    tenant: str
    cookies: dict[str, str] = field(default_factory=dict)

    def send(self, call: Call) -> tuple[Exchange, Mapping[str, object]]:
        """Send a request; returns what came back and its JSON body, if it has one."""
        trace_id = secrets.token_hex(16)
        began = time.perf_counter()
        status, answer, detail = _CONNECTION_FAILED, b"", ""
        try:
            status, answer = self._exchange(call, f"00-{trace_id}-{secrets.token_hex(8)}-01")
        except (OSError, http.client.HTTPException) as error:
            detail = f"{type(error).__name__}: {error}"
        exchange = Exchange(
            application=self.application,
            trace_id=trace_id,
            method=call.method,
            path=call.path,
            status=status,
            expected=call.status,
            duration_ms=(time.perf_counter() - began) * 1000,
            detail=detail,
        )
        return exchange, _decode(answer)

    def _exchange(self, call: Call, traceparent: str) -> tuple[int, bytes]:
        headers = {"traceparent": traceparent, "X-Tenant": self.tenant, "User-Agent": "hublog-demo/1"}
        if self.cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        if "csrftoken" in self.cookies:
            headers["X-CSRFToken"] = self.cookies["csrftoken"]
        body = None
        if call.body is not None:
            body = json.dumps(call.body)
            headers["Content-Type"] = "application/json"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_ANSWER_LIMIT_S)
        try:
            connection.request(call.method, call.path, body, headers)
            response = connection.getresponse()
            answer = response.read()
            for header in response.headers.get_all("Set-Cookie") or ():
                self.cookies.update((name, morsel.value) for name, morsel in SimpleCookie(header).items())
            return response.status, answer
        finally:
            connection.close()


class Load:
    """What one application gets; safe from any thread.

    Args:
        application: its name.
        port: where it serves.
        visits: endless; each with its tenant.
        requests: how many are sent in all.
    """

    def __init__(
        self, application: str, port: int, *, visits: Iterator[tuple[str, Visit]], requests: int
    ) -> None:
        self._application = application
        self._port = port
        self._visits = visits
        self._left = requests
        self._lock = threading.Lock()

    def work(self, sent: Callable[[Exchange], None], stop: threading.Event) -> None:
        """Visit the shop until all requests are sent or ``stop`` is set."""
        while True:
            with self._lock:
                if self._left <= 0:
                    return
                tenant, visit = next(self._visits)
            customer = Customer(self._application, self._port, tenant)
            answer: Mapping[str, object] | None = None
            with contextlib.closing(visit):
                while (call := self._next(visit, answer)) and not stop.is_set():
                    exchange, answer = customer.send(call)
                    sent(exchange)
                    if exchange.status != exchange.expected:
                        break
            if stop.is_set():
                return

    def _next(self, visit: Visit, answer: Mapping[str, object] | None) -> Call | None:
        with self._lock:
            if self._left <= 0:
                return None
            try:
                call = next(visit) if answer is None else visit.send(answer)
            except StopIteration:
                return None
            self._left -= 1
            return call


def send_all(loads: Sequence[Load], *, customers: int, sent: Callable[[Exchange], None]) -> None:
    """Send everything and wait for the answers.

    Args:
        loads: one for each application.
        customers: how many visit an application at the same time.
        sent: told of each exchange, from any thread.
    """
    stop = threading.Event()
    failures: list[Exception] = []

    def work(load: Load) -> None:
        try:
            load.work(sent, stop)
        except Exception as error:  # noqa: BLE001  # raised below, in the thread that waits
            failures.append(error)

    threads = [
        threading.Thread(target=work, args=(load,), daemon=True) for load in loads for _ in range(customers)
    ]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            thread.join()
    finally:
        stop.set()
    if failures:
        raise failures[0]


def _decode(answer: bytes) -> Mapping[str, object]:
    try:
        decoded = json.loads(answer)
    except ValueError:
        return {}
    return decoded if isinstance(decoded, dict) else {}
