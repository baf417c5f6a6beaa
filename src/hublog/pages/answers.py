"""What each page answers: health, state, metrics; the adapters pass it on.

Nothing here waits for the network or for another thread. All processes of the application are read from disk,
once a second at most.
"""

import dataclasses
import hmac
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from hublog.cli.process_status import process_problems, processes_json
from hublog.internal_log import cause_of
from hublog.operations.overview import Overview
from hublog.pages.status_page import STYLE, status_page
from hublog.requests.request_scope import current_scope
from hublog.runtime.handler_watch import findings, has_handlers, hublog_handlers
from hublog.runtime.pipeline import NOT_CONFIGURED
from hublog.runtime.snapshots import overview
from hublog.settings import Settings

#: An overview is read again after so many seconds, and a page made again: 19 ms of CPU for 200 processes.
KEPT_S: Final = 1.0
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; frame-ancestors 'none'",
}
_BEARER: Final = "bearer "


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of HTTP; None in place of one is that of a page that does not exist.

    Attributes:
        body: in UTF-8.
        content_type: with its charset.
        status: of HTTP.
    """

    body: bytes
    content_type: str = "application/json"
    status: int = HTTPStatus.OK

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers that belong to it."""
        return {**_HEADERS, "Content-Type": self.content_type}


class Pages:
    """Makes the answers.

    Args:
        read: reads what all processes show; by default those of this application.
        now: monotonic seconds.
    """

    def __init__(
        self, read: Callable[[], Overview] = overview, *, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._read = read
        self._now = now
        self._last: tuple[float, Overview] | None = None
        self._kept: dict[str, tuple[float, Settings, Answer]] = {}

    def answer(
        self, name: str, settings: Settings, *, authorization: str, is_trusted: Callable[[], bool]
    ) -> Answer | None:
        """Return the answer to a request for a page, which then has no request record.

        Args:
            name: of the page.
            settings: of the application.
            authorization: the header of the request.
            is_trusted: whether the application itself knows who asks, and trusts them; asked last.

        Returns:
            None if there is no such page, or the client may not see it.
        """
        make = _OPEN.get(name)
        if make is None:
            make = _PROTECTED.get(name)
            if make is None or not (_has_token(authorization, settings.status_token) or is_trusted()):
                return None
        scope = current_scope()
        if scope is not None:  # a probe each second would fill the table
            scope.life.settings = dataclasses.replace(scope.life.settings, access_records=False)
        now, kept = self._now(), self._kept.get(name)
        if kept is not None and kept[1] is settings and 0 <= now - kept[0] < KEPT_S:
            return kept[2]
        made = make(self, settings)
        self._kept[name] = now, settings, made
        return made

    def health(self, settings: Settings) -> Answer:
        """Say whether logging works: ``ok``, ``degraded``, or ``failed`` where no logger has a handler."""
        if not has_handlers():
            return _json({"status": "failed"}, HTTPStatus.SERVICE_UNAVAILABLE)
        is_well = hublog_handlers() and not (_own_problems(settings) or self._problems())
        return _json({"status": "ok" if is_well else "degraded"})

    def status_json(self, settings: Settings) -> Answer:
        """Return what ``hublog status --json`` says of the processes."""
        del settings
        try:
            found = self._overview()
        except Exception as error:  # noqa: BLE001  # whatever it is, the operator must see it
            return _json({"problems": [_trouble(error)]}, HTTPStatus.INTERNAL_SERVER_ERROR)
        return _json({"problems": self._problems(), **processes_json(found)})

    def status(self, settings: Settings) -> Answer:
        """Return the page for people."""
        problems = [*_own_problems(settings), *self._problems()]
        try:
            found = self._overview()
        except Exception:  # noqa: BLE001  # the problems say it
            found = Overview()
        page = status_page(found, problems, is_switched_off=not settings.eventhub.enabled)
        return Answer(page.encode("utf-8", "replace"), "text/html; charset=utf-8")

    def metrics(self, settings: Settings) -> Answer:
        """Return the metrics for Prometheus; 501 without the extra."""
        del settings
        if not _HAS_PROMETHEUS:
            return Answer(b"pip install 'hublog[prometheus]'\n", "text/plain", HTTPStatus.NOT_IMPLEMENTED)
        registry = CollectorRegistry()
        try:
            registry.register(HublogCollector())
            return Answer(generate_latest(registry), CONTENT_TYPE_LATEST)
        except Exception as error:  # noqa: BLE001  # as above
            return Answer(f"{_trouble(error)}\n".encode(), "text/plain", HTTPStatus.INTERNAL_SERVER_ERROR)

    def style(self, settings: Settings) -> Answer:
        """Return the style sheet: a file of its own, so that strict policies let it pass."""
        del settings
        return Answer(STYLE.encode(), "text/css; charset=utf-8")

    def _overview(self) -> Overview:
        now, last = self._now(), self._last
        if last is not None and 0 <= now - last[0] < KEPT_S:
            return last[1]
        found = self._read()
        self._last = now, found
        return found

    def _problems(self) -> list[str]:
        try:
            return process_problems(self._overview())
        except Exception as error:  # noqa: BLE001  # as above
            return [_trouble(error)]


try:
    from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

    from hublog.metrics.prometheus import HublogCollector
except ImportError:
    _HAS_PROMETHEUS = False
else:
    _HAS_PROMETHEUS = True

_OPEN: Final = {"healthz": Pages.health, "status.css": Pages.style}
_PROTECTED: Final = {"status": Pages.status, "status.json": Pages.status_json, "metrics": Pages.metrics}
#: Of each page below the path that the application chooses.
NAMES: Final = (*_OPEN, *_PROTECTED)
pages: Final = Pages()


def _own_problems(settings: Settings) -> list[str]:
    """Return what is wrong with the handlers and settings of this process."""
    is_missing = settings.eventhub.enabled and not settings.eventhub.is_configured
    return [*findings(), *([NOT_CONFIGURED] if is_missing else ())]


def _has_token(authorization: str, token: str) -> bool:
    """Whether a header carries the token; takes as long for each other one of its length."""
    given = authorization[len(_BEARER) :].strip() if authorization[: len(_BEARER)].lower() == _BEARER else ""
    return bool(token) and hmac.compare_digest(given.encode("utf-8", "replace"), token.encode())


def _json(found: Mapping[str, object], status: int = HTTPStatus.OK) -> Answer:
    return Answer(json.dumps(found, default=str).encode(), status=status)


def _trouble(error: Exception) -> str:
    return f"The state of the processes cannot be read: {cause_of(error)}."
