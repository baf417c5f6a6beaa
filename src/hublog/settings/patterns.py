"""Whether a regular expression of the user is fit to run on every text: valid, and of bounded time.

Python's engine tries one way after the other, so that one hostile text can hold up the application. What is
proven to be linear by ``pattern_cost`` runs on it. All else needs the extra ``re2``, whose engine is linear
in the text whatever the expression is.
"""

import os
import re
import warnings
import weakref
from collections.abc import Callable, Iterator
from functools import lru_cache
from importlib import import_module
from typing import Any, Final

from hublog.settings.pattern_cost import NotProvenError, guard_of, steps_of

_LONGEST: Final = 1_000
#: Steps of the engine for each character of a text, at most; one takes about 10 ns.
STEPS_MAX: Final = 500
_NEEDS: Final = "install hublog[re2], which runs every expression in linear time"
#: RE2's classes know ASCII only; these are Python's. What is negated may match more there than in Python.
_CLASSES: Final = {
    "d": r"\p{Nd}",
    "w": r"\p{L}\p{N}_",
    "s": r"\t-\r\x1c-\x20\x85\xa0\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}",
}

#: An escape, the beginning of a class with what is literal there, or one character.
_PARTS: Final = re.compile(r"\\.|\[\^?\]?|.", re.DOTALL)

#: Yields the places in a text, from and to before, that an expression matches.
Find = Callable[[str], Iterator[tuple[int, int]]]


def problem_of(pattern: str) -> str:
    """Return what is wrong with a regular expression, as the rest of a sentence; empty if nothing is."""
    found = _judged(pattern)
    return found if isinstance(found, str) else ""


def finder_of(pattern: str) -> Find | None:
    """Return what finds an expression's matches, in time in proportion to the text; None if it is not fit."""
    found = _judged(pattern)
    return None if isinstance(found, str) else found


@lru_cache(maxsize=256)
def _judged(pattern: str) -> str | Find:
    """Return the finder of an expression, or what is wrong with it."""
    if len(pattern) > _LONGEST:
        return f"is longer than {_LONGEST} characters"
    try:
        with warnings.catch_warnings(category=Warning, action="ignore"):
            expression = re.compile(pattern)
        is_empty = expression.match("") is not None
    except (re.error, RecursionError, OverflowError) as error:
        return f"is no regular expression ({error})"
    if is_empty:
        return "matches the empty text"
    try:
        steps = steps_of(pattern)
        if steps <= STEPS_MAX:
            return _by_python(expression)
        reason = "may take long for each character of a hostile text"
    except NotProvenError as error:
        reason = str(error)
    found = _by_re2(pattern)
    return f"{reason}, so that it {found}" if isinstance(found, str) else found


def _by_python(expression: re.Pattern[str]) -> Find:
    """Search with Python's engine, by an expression that is proven to be linear.

    One that begins with a repeat without an end is not begun inside of a run of what it repeats: it
    fails there where it has failed from the beginning of the run. Behind a match it is begun in any case.
    """
    guard, rest = guard_of(expression.pattern)
    if not guard:
        return lambda text: (match.span() for match in expression.finditer(text) if match[0])
    first = re.compile(f"(?<!{guard})(?:{rest})", expression.flags)

    def find(text: str) -> Iterator[tuple[int, int]]:
        at = 0
        while at <= len(text):
            found = (expression.match(text, at) if at else None) or first.search(text, at)
            if found is None:
                return
            start, end = found.span()
            if end > start:
                yield start, end
            at = max(end, at + (end == start))

    return find


class _Re2:
    """Searches with RE2.

    Its objects hold locks while they search, and the search lets other threads run, so a forked child makes
    one of its own; that of its parent is kept as it is.
    """

    def __init__(self, re2: Any, pattern: str) -> None:  # noqa: ANN401  # the module has no types
        self._re2, self._pattern = re2, _translated(pattern)
        self._expression = self._compiled()
        _in_use.add(self)

    def _compiled(self) -> Any:  # noqa: ANN401  # as above
        options = self._re2.Options()
        options.log_errors, options.never_capture = False, True
        return self._re2.compile(self._pattern, options)

    def forget(self) -> None:
        """Make a new one at the next search; runs in a forked child."""
        _inherited.append(self._expression)
        self._expression = None

    def __call__(self, text: str) -> Iterator[tuple[int, int]]:
        expression = self._expression
        if expression is None:
            self._re2.purge()  # else its cache gives the parent's
            expression = self._expression = self._compiled()
        # One character for one, since the places are counted: UTF-8 has no lone surrogates.
        readable = text.encode("utf-8", "replace").decode("utf-8")
        for found in expression.finditer(readable):
            start, end = found.span()
            if end > start:
                yield start, end


_in_use: Final[weakref.WeakSet[_Re2]] = weakref.WeakSet()
_inherited: Final[list[object]] = []


def _after_fork() -> None:
    for found in list(_in_use):
        found.forget()


os.register_at_fork(after_in_child=_after_fork)


def _translated(pattern: str) -> str:
    """Return an expression in RE2's syntax, with the classes that Python means."""
    found: list[str] = []
    is_class = False
    for part in _PARTS.findall(pattern):
        one = part[1:]
        if part[0] == "\\" and one in _CLASSES:
            found.append(_CLASSES[one] if is_class else f"[{_CLASSES[one]}]")
        elif part == "\\Z":
            found.append("\\z")
        else:
            is_class = part[0] == "[" or (is_class and part != "]")
            found.append(part)
    return "".join(found)


def _by_re2(pattern: str) -> str | Find:
    """Return a finder by RE2, or why there is none."""
    try:
        re2: Any = import_module("re2")
        compile_error = re2.error, re2.Options
    except (ImportError, AttributeError):  # another package of this name has no options
        return f"is not proven to be fast; {_NEEDS}"
    try:
        return _Re2(re2, pattern)
    except compile_error[0] as error:
        return f"is not proven to be fast, and RE2 does not know it ({_reason(error)})"


def _reason(error: Exception) -> str:
    text = error.args[0] if error.args else ""
    return text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
