"""How the results are written: a line each for people, or one JSON object for programs."""

import json
import textwrap
from collections.abc import Iterable, Sequence
from typing import Final, TextIO

from hublog.doctor.result import Result, Status

_STATUS_WIDTH: Final = 4
_WHAT_WIDTH: Final = 12
_INDENT: Final = _STATUS_WIDTH + _WHAT_WIDTH + 4
_LEAST_WIDTH: Final = 40
_SLOW_S: Final = 0.001


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
