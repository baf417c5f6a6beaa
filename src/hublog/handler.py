"""The handler that an application puts into its logging configuration.

It takes each ``LogRecord`` in the thread that logs, and gives it to the pipeline of its configuration, with
what other libraries have put on it read as they mean it, and with the fields of the moment it was made in.
"""

import logging
import weakref
from contextvars import ContextVar
from dataclasses import replace
from sys import _getframe
from typing import Final

from hublog.capture import context
from hublog.capture.context import EMPTY, call_with, stored
from hublog.capture.interop import take_as_meant
from hublog.capture.origin import LOG_CALL, kept, origin
from hublog.capture.reentry_guard import CaptureHandler, quiet_azure
from hublog.runtime.handler_watch import watch
from hublog.runtime.registry import get_pipeline, install
from hublog.runtime.shared import runtime
from hublog.settings import Settings, is_switched_off, read_settings

#: Frames from ``capture`` up to a log call that has its record handled at once.
_DEPTH: Final = 5

#: The last record that a shared pipeline took in this context, weakly: it may hold a traceback's frames.
_taken: ContextVar["weakref.ref[logging.LogRecord] | None"] = ContextVar("hublog_taken", default=None)


class EventHubHandler(CaptureHandler):
    """Streams records to an Event Hub, through the one pipeline of its configuration.

    The loggers ``azure`` and ``msal`` get the level WARNING unless they have one, or are given one later.

    Args:
        level: of its own; NOTSET leaves it to ``EVENTHUB_LOG_LEVEL``.
        settings: everything, already read; ``EVENTHUB_LOGGING_ENABLED=false`` in the environment wins; or
        framework: ``django``, ``flask`` or empty, and
        keywords: names and values of ``EventHubSettings``, plain data, as ``dictConfig`` passes them.
            What is not given comes from the framework's configuration or the environment, read when
            the first record is sent.

    Attributes:
        pipeline: what it feeds; others may feed it too.

    Raises:
        SettingsError: a keyword is unknown or its value is invalid.
    """

    hublog_skips_reports: Final = True

    def __init__(
        self,
        level: int | str = logging.NOTSET,
        *,
        settings: Settings | None = None,
        framework: str = "",
        **keywords: object,
    ) -> None:
        install()
        # All that may raise comes first: logging.shutdown flushes and closes a handler that is half made.
        if keywords:
            read_settings({"eventhub_logging": keywords}, environ={}).strict()
        self._settings, self._keywords, self._framework = _switched(settings), keywords, framework
        #: A closed handler takes records all the same, as long as it stands on a logger.
        self.is_closed = False
        self.find_pipeline()
        super().__init__(level)
        quiet_azure()
        watch()
        runtime.handlers.add(self)

    def find_pipeline(self) -> None:
        """Feed the pipeline of this configuration; a test may have replaced it."""
        self.pipeline = get_pipeline(self._settings, keywords=self._keywords, framework=self._framework)
        if not self.is_closed:
            self.pipeline.join(self)
        if self._settings is not None:
            self.pipeline.read()  # here, in the main thread, the hook of SIGTERM can be installed

    def capture(self, record: logging.LogRecord) -> None:
        """Hand the record to the pipeline, once even where two handlers of it see the record."""
        pipeline = self.pipeline
        try:
            if pipeline.is_enabled is None:
                pipeline.read()
            if not pipeline.is_enabled or (not self.level and record.levelno < pipeline.level):
                return
            if pipeline.is_shared and _is_second(record):
                return
            now = stored()
            if now is not EMPTY or kept or context.current is not stored:
                life = now.life
                try:  # it is looked at here, since a call would cost more
                    is_of_now = _getframe(_DEPTH).f_code is LOG_CALL
                except ValueError:  # there are fewer frames
                    is_of_now = False
                if not is_of_now or kept or (life is not None and life.ended_mono is not None):
                    made_in = origin(record, now, depth=_DEPTH)
                    if made_in is not stored():
                        call_with(made_in, take_as_meant, record, pipeline.accept)
                        return
            take_as_meant(record, pipeline.accept)
        except Exception as error:  # noqa: BLE001  # a log call never raises; the record is counted
            pipeline.failed(error)

    def refuse(self, record: logging.LogRecord) -> None:
        """Have a record counted that was logged inside too many log calls."""
        self.pipeline.refuse_nested(record)

    def flush(self) -> None:
        """Send what waits, for at most the exit timeout; inside ``dictConfig`` do nothing.

        ``dictConfig`` flushes under logging's lock, which every other thread may need.
        """
        if not _holds_logging_lock():
            self.pipeline.flush()

    def close(self) -> None:
        """Leave the pipeline; the last one to leave lets its thread end once all is delivered."""
        self.is_closed = True
        self.pipeline.leave(self)
        super().close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} ({logging.getLevelName(self.level)})>"


def _switched(settings: Settings | None) -> Settings | None:
    """Return settings that are off where the environment switches the Event Hub off: it is the rollback."""
    if settings is None or not settings.eventhub.enabled or not is_switched_off():
        return settings
    return replace(settings, eventhub=replace(settings.eventhub, enabled=False))


def _is_second(record: logging.LogRecord) -> bool:
    """Whether another handler of a shared pipeline took the record just now."""
    last = _taken.get()
    if last is not None and last() is record:
        return True
    _taken.set(weakref.ref(record))
    return False


def _holds_logging_lock() -> bool:
    owned = getattr(getattr(logging, "_lock", None), "_is_owned", None)
    return bool(owned()) if owned is not None else True
