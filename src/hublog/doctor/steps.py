"""One step of the doctor: how it went, how long it may take, and how it is written."""

import json
import queue
import textwrap
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TextIO, TypeVar

from hublog.redaction.redactor import DEFAULT

_STATUS_WIDTH: Final = 4
_WHAT_WIDTH: Final = 12
_INDENT: Final = _STATUS_WIDTH + _WHAT_WIDTH + 4
_LEAST_WIDTH: Final = 40
_SLOW_S: Final = 0.001


class Status(StrEnum):
    """How it went; only ``fail`` makes the exit status 1."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One line of the doctor.

    Attributes:
        status: how it went.
        what: the step, one word or two.
        detail: what was seen, without secrets: texts of other packages are in it.
        hint: what to do; empty when all is well.
        seconds: how long it took, where that says something.
    """

    status: Status
    what: str
    detail: str
    hint: str = ""
    seconds: float | None = None

    def __post_init__(self) -> None:
        """Take out what the error of a credential or a client may quote."""
        object.__setattr__(self, "detail", DEFAULT.text(self.detail))
        object.__setattr__(self, "hint", DEFAULT.text(self.hint))


def ok(what: str, detail: str, *, seconds: float | None = None) -> Result:
    """Return a step that went well."""
    return Result(status=Status.OK, what=what, detail=detail, seconds=seconds)


def warn(what: str, detail: str, hint: str) -> Result:
    """Return a step that somebody should look at."""
    return Result(status=Status.WARN, what=what, detail=detail, hint=hint)


def fail(what: str, detail: str, hint: str, *, seconds: float | None = None) -> Result:
    """Return a step that went wrong."""
    return Result(status=Status.FAIL, what=what, detail=detail, hint=hint, seconds=seconds)


#: All steps together, in seconds; a start script or a person waits so long. Half a minute with the rest.
ALL_S: Final = 25.0
#: What each step has in any case, so that one of the first does not make the last ones fail.
LEAST_S: Final = 0.5
#: One look-up, one connection, one handshake.
STEP_S: Final = 5.0
#: The client's own way to an open link: connection, token, link; signing in takes longer than the rest.
OPEN_S: Final = 10.0

_T = TypeVar("_T")


class TookTooLongError(Exception):
    """An act was not over in time; its thread is left behind."""


def within(limit_s: float, act: Callable[[], _T]) -> _T:
    """Do something in a thread of its own, and wait for it.

    Args:
        limit_s: how long to wait at most.
        act: what to do; what it raises is raised here.

    Raises:
        TookTooLongError: it is not over. The thread is a daemon, so that it keeps no process alive.
    """
    answers: queue.SimpleQueue[tuple[_T | None, BaseException | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            answers.put((act(), None))
        except BaseException as error:  # noqa: BLE001  # raised again where it is waited for
            answers.put((None, error))

    threading.Thread(target=run, name="hublog-doctor", daemon=True).start()
    try:
        value, error = answers.get(timeout=max(limit_s, 0.0))
    except queue.Empty:
        raise TookTooLongError from None
    if error is not None:
        raise error
    return value  # type: ignore[return-value]  # None only where the act returns it


class Budget:
    """What is left of the time for all steps.

    Args:
        all_s: for all of them together.
        step_s: for one step.
        open_s: for the step that opens a link.
        now: monotonic seconds.
    """

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
        """Return what the next step may take."""
        return min(self._step_s, self._left_s())

    def open_s(self) -> float:
        """Return what opening a link may take."""
        return min(self._open_s, self._left_s())

    def _left_s(self) -> float:
        return max(self._end_mono - self._now(), LEAST_S)


def write_lines(results: Iterable[Result], out: TextIO, *, width: int | None = None) -> list[Result]:
    """Write each result as soon as it comes, and a last line that sums them up.

    Args:
        results: may take their time.
        out: where to.
        width: columns of the terminal; None folds nothing, so that each result is one line and a hint
            another.

    Returns:
        The results.
    """
    seen = []
    for result in results:
        seen.append(result)
        head = f"{result.status:<{_STATUS_WIDTH}}  {result.what:<{_WHAT_WIDTH}}  "
        took = f" ({_took(result.seconds)})" if result.seconds is not None else ""
        out.write(printable(_folded(f"{head}{_one_line(result.detail)}{took}", width), out))
        if result.hint:
            out.write(printable(_folded(f"{' ' * _INDENT}> {_one_line(result.hint)}", width), out))
        out.flush()
    out.write(f"{_sum(seen)}\n")
    return seen


def write_json(results: Iterable[Result], out: TextIO) -> list[Result]:
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


def has_failed(results: Iterable[Result]) -> bool:
    """Whether one of the steps failed."""
    return any(result.status is Status.FAIL for result in results)


def printable(text: str, out: TextIO) -> str:
    r"""Return a text as a stream can take it: what its encoding lacks is written out, like ``\xe9``."""
    encoding = getattr(out, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _folded(line: str, width: int | None) -> str:
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
    """Return a text without line breaks, and with what a terminal would obey written out."""
    joined = " ".join(text.split())
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in joined)


def _took(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{max(seconds, _SLOW_S) * 1000:.0f} ms"


def _sum(results: Sequence[Result]) -> str:
    counts = {status: sum(result.status is status for result in results) for status in Status}
    if counts[Status.FAIL]:
        return f"{counts[Status.FAIL]} failed, {counts[Status.WARN]} to look at, {counts[Status.OK]} fine."
    if counts[Status.WARN]:
        return f"Nothing failed; {counts[Status.WARN]} to look at, {counts[Status.OK]} fine."
    return f"All {counts[Status.OK]} steps are fine."
