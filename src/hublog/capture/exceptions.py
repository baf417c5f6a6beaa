"""An exception becomes text and a fingerprint, in the caller's thread; bounded, whatever the exception is."""

import hashlib
import re
import sys
import sysconfig
from types import TracebackType
from typing import Final, NamedTuple

from hublog.capture.json_safe import clean, text_of, whole_text_of
from hublog.capture.traceback_text import MAX_SCRUBBED, Frame, frames_of, print_of
from hublog.redaction.redactor import DEFAULT, Redactor
from hublog.redaction.text_ranges import cut_middle

MAX_STACKTRACE: Final = 16_384
MAX_MESSAGE: Final = 8_192

_FOREIGN = tuple(
    {sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), "<frozen"}
)
#: How a traceback begins, and with it a group's; the last one in a text is that of the exception itself.
_HEADER: Final = re.compile(
    r"^(?:Traceback|  \+ Exception Group Traceback) \(most recent call last\):$", re.MULTILINE
)
_FRAME: Final = re.compile(
    r'^(?:  \| )?  File "([^"\n]{1,1024})", line ([0-9]{1,9}), in ([^\n]{1,1024})$', re.MULTILINE
)
#: The line that names an exception, and what it says on it and on the lines that follow.
_MEMBERS: Final = "\n  +-+---"
_NAMED: Final = re.compile(r"^(?:  \| )?([^\W\d][\w.<>]{0,255})(?:: |$)(.*)", re.MULTILINE | re.DOTALL)


class ExceptionFields(NamedTuple):
    """What the exception columns hold, and whether one of them was cut."""

    type: str
    message: str
    stacktrace: str
    fingerprint: str
    is_cut: bool

    def columns(self) -> dict[str, object]:
        """Return them under the names of their columns."""
        columns: dict[str, object] = {
            "exception_type": self.type,
            "exception_message": self.message,
            "exception_stacktrace": self.stacktrace,
            "exception_fingerprint": self.fingerprint,
        }
        return columns | {"truncated": True} if self.is_cut else columns


def describe(
    error: BaseException, traceback: TracebackType | None, redactor: Redactor = DEFAULT
) -> ExceptionFields:
    """Return the text, type and fingerprint of an exception; total, whatever the exception does.

    Args:
        error: the exception of ``record.exc_info``.
        traceback: its traceback as in ``exc_info[2]``; None gives no frames.
        redactor: takes the secrets out of its texts and of the lines of source, before they are cut.
    """
    frames = frames_of(traceback)
    message, stacktrace = whole_text_of(error), print_of(error, frames, redactor)
    return ExceptionFields(
        type_name(type(error)),
        redactor.bounded(message, MAX_MESSAGE, MAX_MESSAGE),
        cut_middle(stacktrace, MAX_STACKTRACE),
        _fingerprint(type_name(type(error)), frames),
        len(message) > MAX_MESSAGE or len(stacktrace) > MAX_STACKTRACE,
    )


def type_name(kind: type) -> str:
    """Return the full name of a class, without ``builtins``."""
    name = text_of(kind.__qualname__)
    return name if kind.__module__ == "builtins" else f"{text_of(kind.__module__)}.{name}"


def from_text(text: object, redactor: Redactor = DEFAULT) -> ExceptionFields | None:
    """Return the fields for what stands in ``record.exc_text`` of a record that has lost its exception.

    So do records that have come from another process or through a queue. Type, message and fingerprint are
    those that the exception itself had, as far as the text is what Python prints.

    Returns:
        None where there is no text.
    """
    if not isinstance(text, str) or not text.strip():
        return None
    text = clean(text).strip("\n")
    last = text[-MAX_SCRUBBED:]
    at = max((found.end() for found in _HEADER.finditer(last)), default=0)
    named = _NAMED.search(last, at)
    name, message = (named[1], named[2].partition(_MEMBERS)[0]) if named else ("", "")
    frames = [Frame(found[1], int(found[2]), found[3]) for found in _FRAME.finditer(last, at)]
    return ExceptionFields(
        name,
        redactor.bounded(message, MAX_MESSAGE, MAX_MESSAGE),
        cut_middle(redactor.bounded(text, MAX_SCRUBBED, MAX_STACKTRACE), MAX_STACKTRACE) + "\n",
        _fingerprint(name, frames),
        len(message) > MAX_MESSAGE or len(text) > MAX_STACKTRACE,
    )


def from_record(exc_info: object, exc_text: object, redactor: Redactor = DEFAULT) -> ExceptionFields | None:
    """Return the fields of a record's exception, by its text where nothing else is left."""
    return from_exc_info(exc_info, redactor) or from_text(exc_text, redactor)


def _fingerprint(name: str, frames: list[Frame]) -> str:
    """Group by type and by the application's own frames: line numbers change, functions seldom do."""
    own = [frame for frame in frames if not frame.file.startswith(_FOREIGN)] or frames
    text = "|".join([name, *(f"{frame.file}:{frame.function}" for frame in own)])
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).hexdigest()


def from_exc_info(exc_info: object, redactor: Redactor = DEFAULT) -> ExceptionFields | None:
    """Return the fields for what stands in ``record.exc_info``, or None where there is no exception."""
    if exc_info is True:
        exc_info = sys.exc_info()
    if isinstance(exc_info, BaseException):
        return describe(exc_info, exc_info.__traceback__, redactor)
    if isinstance(exc_info, tuple) and len(exc_info) == 3 and isinstance(exc_info[1], BaseException):  # noqa: PLR2004  # the shape of sys.exc_info()
        return describe(exc_info[1], exc_info[2], redactor)
    return None
