"""A step of the doctor: its result, its time limit, and how it is printed."""

import json
import queue
import textwrap
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, TextIO, TypeVar

from hublog.redaction.redactor import DEFAULT

_STATUS_WIDTH: Final = 4
_WHAT_WIDTH: Final = 12
_INDENT: Final = _STATUS_WIDTH + _WHAT_WIDTH + 4
_LEAST_WIDTH: Final = 40
_SLOW_S: Final = 0.001


class StepStatus(StrEnum):
    """The status of a step; only ``fail`` makes the exit status 1."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """One line of the doctor.

    Attributes:
        what: name of the step, one or two words.
        detail: what was observed, without secrets.
        hint: what to do; empty for a step that passed.
        seconds: duration of the step, where that is useful.
    """

    status: StepStatus
    what: str
    detail: str
    hint: str = ""
    seconds: float | None = None

    def __post_init__(self) -> None:
        """Redact secrets that errors of the client or a credential may quote."""
        object.__setattr__(self, "detail", DEFAULT.text(self.detail))
        object.__setattr__(self, "hint", DEFAULT.text(self.hint))


def ok(what: str, detail: str) -> StepResult:
    """Return a step that passed."""
    return StepResult(status=StepStatus.OK, what=what, detail=detail)


def warn(what: str, detail: str, hint: str) -> StepResult:
    """Return a step with a warning."""
    return StepResult(status=StepStatus.WARN, what=what, detail=detail, hint=hint)


def fail(what: str, detail: str, hint: str) -> StepResult:
    """Return a step that failed."""
    return StepResult(status=StepStatus.FAIL, what=what, detail=detail, hint=hint)


def took(begin_mono: float, result: StepResult) -> StepResult:
    """Return a result with the time since the step began."""
    return replace(result, seconds=time.monotonic() - begin_mono)


#: Limit of all steps together in seconds; with the minimum of each step half a minute.
ALL_S: Final = 25.0
#: Minimum of each step, so that a slow first step does not fail the last ones.
LEAST_S: Final = 0.5
#: Limit of one look-up, connection or handshake.
STEP_S: Final = 5.0
#: Limit of the client's connection, token and link together; signing in takes longest.
OPEN_S: Final = 10.0

_T = TypeVar("_T")


class StepTimeoutError(Exception):
    """A step did not finish in time; its thread is abandoned."""


def run_with_timeout(limit_s: float, function: Callable[[], _T]) -> _T:
    """Call a function in a thread of its own, and wait for it; its exceptions are raised here.

    Raises:
        StepTimeoutError: it did not finish. The thread is a daemon, so it does not keep the process alive.
    """
    answers: queue.SimpleQueue[tuple[_T | None, BaseException | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            answers.put((function(), None))
        except BaseException as error:  # noqa: BLE001  # raised again by the caller
            answers.put((None, error))

    threading.Thread(target=run, name="hublog-doctor", daemon=True).start()
    try:
        value, error = answers.get(timeout=max(limit_s, 0.0))
    except queue.Empty:
        raise StepTimeoutError from None
    if error is not None:
        raise error
    return value  # type: ignore[return-value]  # None only where the function returns it


class TimeBudget:
    """The seconds left for all steps, for one of them, and for the one that opens a link."""

    def __init__(
        self,
        *,
        all_s: float = ALL_S,
        step_s: float = STEP_S,
        open_s: float = OPEN_S,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._now = now
        self._end_mono = now() + all_s
        self._step_s = step_s
        self._open_s = open_s

    def step_s(self) -> float:
        """Return the limit of the next step."""
        return min(self._step_s, self._left_s())

    def open_s(self) -> float:
        """Return the limit of opening a link."""
        return min(self._open_s, self._left_s())

    def _left_s(self) -> float:
        return max(self._end_mono - self._now(), LEAST_S)


def write_lines(results: Iterable[StepResult], out: TextIO, *, width: int | None = None) -> list[StepResult]:
    """Write each result as soon as it is there, and a summary line; returns the results.

    Without the width of a terminal each result is one line, and its hint another.
    """
    seen = []
    for result in results:
        seen.append(result)
        head = f"{result.status:<{_STATUS_WIDTH}}  {result.what:<{_WHAT_WIDTH}}  "
        took = f" ({_took(result.seconds)})" if result.seconds is not None else ""
        out.write(printable(_wrapped(f"{head}{_one_line(result.detail)}{took}", width), out))
        if result.hint:
            out.write(printable(_wrapped(f"{' ' * _INDENT}> {_one_line(result.hint)}", width), out))
        out.flush()
    out.write(f"{_summary(seen)}\n")
    return seen


def write_json(results: Iterable[StepResult], out: TextIO) -> list[StepResult]:
    """Write one JSON object, in ASCII; returns the results."""
    seen = list(results)
    steps = [
        {
            "status": str(result.status),
            "what": result.what,
            "detail": result.detail,
            "hint": result.hint,
            "seconds": None if result.seconds is None else round(result.seconds, 3),
        }
        for result in seen
    ]
    json.dump({"ok": not has_failed(seen), "steps": steps}, out, indent=2)
    out.write("\n")
    return seen


def has_failed(results: Iterable[StepResult]) -> bool:
    """Whether one of the steps failed."""
    return any(result.status is StepStatus.FAIL for result in results)


def printable(text: str, out: TextIO) -> str:
    r"""Return a text as a stream can encode it: other characters are escaped, like ``\xe9``."""
    encoding = getattr(out, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _wrapped(line: str, width: int | None) -> str:
    if width is None:
        return f"{line}\n"
    indent = " " * (_INDENT + 2 if line.startswith(" ") else _INDENT)
    lines = textwrap.wrap(
        line,
        max(width, _LEAST_WIDTH),
        subsequent_indent=indent,
        break_on_hyphens=False,
        break_long_words=False,
        drop_whitespace=True,
    )
    return "".join(f"{each}\n" for each in lines)


def _one_line(text: str) -> str:
    """Return a text without line breaks, and with control characters escaped."""
    joined = " ".join(text.split())
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in joined)


def _took(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{max(seconds, _SLOW_S) * 1000:.0f} ms"


def _summary(results: Sequence[StepResult]) -> str:
    passed, warnings, failed = (
        sum(result.status is status for result in results)
        for status in (StepStatus.OK, StepStatus.WARN, StepStatus.FAIL)
    )
    if passed == len(results):
        return f"All {passed} steps passed."
    return f"{failed} failed, {warnings} warning{'' if warnings == 1 else 's'}, {passed} passed."
