r"""Regular expressions of the user: which of them are searched in linear time, and the search itself.

With the extra ``re2`` any expression is taken that RE2 knows: it is linear in the text by construction.
Python's engine tries one way after the other, so that one hostile text can hold up the application. It runs
only what ``steps_of`` proves to be linear, by a bound on its steps for each character of a text:

- What is bounded takes a number of steps from each place, in which the ways of its parts multiply.
- A repeat without an end repeats one class of characters. Last in the expression it may begin anywhere: what
  it runs over is matched and not looked at again. Elsewhere it must begin where a run of these characters
  begins: behind a character that is not of the class, at an edge, or first in the expression, which the
  search does not begin inside of a run. So it runs over each run once for each way to its beginning.
"""

import re
import warnings
import weakref
from collections.abc import Callable, Iterator
from functools import lru_cache
from importlib import import_module
from typing import Any, Final, NamedTuple

from hublog.process_hooks import process_hooks

_LONGEST: Final = 1_000
#: Steps of the engine for each character of a text, at most; one takes about 10 ns.
STEPS_MAX: Final = 500
#: Steps and ways are counted up to here, and a group is written out up to so many items for its repeats.
_CAP: Final = 100_000
_ITEMS_MAX: Final = 100
_NEEDS: Final = "install hublog[re2], which runs every expression in linear time"
_FLAGS: Final = re.compile(r"\(\?([ims]+)\)|")
_TOKEN: Final = re.compile(
    r"(?P<edge>\\[bBAZz]|[\^$])|(?P<opening>\((?:\?(?::|>|P<\w+>|<?[=!]))?(?!\?))"
    r"|(?P<characters>\\(?:[dwsDWSnrtfva]|\W)|\[\^?\]?(?:[^\]\\]|\\.)*+\]|[^\\\[()|*+?])",
    re.DOTALL,
)
_REPEAT: Final = re.compile(r"(?:([*+?])|\{(?:(\d+)|(\d*),(\d*))\})[?+]?")
_SIGNS: Final[dict[str, tuple[int, int | None]]] = {"*": (0, None), "+": (1, None), "?": (0, 1)}
#: Classes are compared by the characters of ASCII, by one beyond of each kind that ``\d``, ``\w`` and ``\s``
#: tell apart, and by those that are equal to a letter of ASCII where case is ignored.
_ALPHABET: Final = "".join(map(chr, range(128))) + "\u00e9\u0663\u2003\u2014\u0130\u0131\u017f\u212a"
#: Of a class with these some characters are not in the alphabet.
_BEYOND: Final = re.compile(r"[^\x00-\x7f]|\\[xuUN0-9]")
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


class NotLinearError(ValueError):
    """The expression is not proven to be linear; the text says why, as the rest of a sentence."""


class Characters(NamedTuple):
    """One character: how it is written, and which of the alphabet it may be."""

    text: str
    members: frozenset[str]

    @property
    def steps(self) -> int:
        """Steps of a test: a class may name others, which are tested one by one."""
        return 1 + self.text.count("\\") if self.text.startswith("[") else 1


class Edge(NamedTuple):
    """An assertion that looks at no more than the characters around."""

    text: str


class Branches(NamedTuple):
    """Alternatives; of a group that looks around ``opening`` has an equals sign or an exclamation mark."""

    opening: str
    alternatives: "list[list[Item]]"

    @property
    def looks_around(self) -> bool:
        """Whether it matches no character itself."""
        return self.opening.endswith(("=", "!"))


class Repeat(NamedTuple):
    """A repeat of one item; ``most`` None has no end. Lazy and possessive ones count as greedy."""

    item: "Characters | Branches"
    least: int
    most: int | None


Item = Characters | Edge | Branches | Repeat


class Parser:
    """Reads an expression that ``re`` has compiled.

    Attributes:
        flags: those in front, as they are written.
        begin: where the expression begins behind these.
    """

    def __init__(self, pattern: str) -> None:
        flags = _FLAGS.match(pattern)
        self._text = pattern
        self.flags = flags[0] if flags else ""
        self.begin = self._at = len(self.flags)
        self._alphabet = {case for one in _ALPHABET + pattern for case in (one, one.lower(), one.upper())}

    def alternatives(self) -> list[list[Item]]:
        """Return the alternatives up to the end of the group or of the expression."""
        alternatives: list[list[Item]] = [[]]
        while self._at < len(self._text) and self._text[self._at] != ")":
            if self._text[self._at] == "|":
                self._at += 1
                alternatives.append([])
            else:
                alternatives[-1] += self._items()
        return alternatives

    def _items(self) -> list[Item]:
        """Return what stands next with its repeat; a group that is repeated a few times is written out."""
        token = _TOKEN.match(self._text, self._at)
        if token is None:
            is_back = re.compile(r"\\[1-9]|\(\?P=").match(self._text, self._at)
            raise NotLinearError("refers back to a group" if is_back else "has parts that are not understood")
        self._at = token.end()
        if token["edge"]:
            return [Edge(token[0])]
        if token["opening"]:
            item: Characters | Branches = Branches(token[0], self.alternatives())
            self._at += 1
        else:
            item = self._characters(token[0])
        repeat = _REPEAT.match(self._text, self._at)
        self._at = repeat.end() if repeat else self._at
        least, most = _counts(repeat)
        if isinstance(item, Branches) and not item.looks_around and len(item.alternatives) == 1:
            (inside,) = item.alternatives
            if least == most and (repeat is None or len(inside) * least <= _ITEMS_MAX):
                return inside * least
        return [Repeat(item, least, most)] if repeat else [item]

    def _characters(self, text: str) -> Characters:
        if text.startswith("[") and _BEYOND.search(text):
            raise NotLinearError("has a class of characters beyond ASCII")
        matches = re.compile(self.flags + text).match
        return Characters(text, frozenset(one for one in self._alphabet if matches(one)))


def _counts(repeat: re.Match[str] | None) -> tuple[int, int | None]:
    """Return how often an item is repeated, at least and at most; None without an end."""
    sign, exactly, least, most = repeat.groups() if repeat else ("", "1", "", "")
    if sign:
        return _SIGNS[sign]
    return (int(exactly), int(exactly)) if exactly else (int(least or 0), int(most) if most else None)


class _Cost(NamedTuple):
    """Of a bounded part from one place: steps, ways to get through, characters from and to."""

    steps: int
    ways: int
    shortest: int
    longest: int


def steps_of(pattern: str) -> int:
    """Return the steps that Python's engine takes for each character of a text, at most.

    Raises:
        NotLinearError: there may be no such number.
    """
    parser = Parser(pattern)
    alternatives = parser.alternatives()
    return sum(_steps(one, parser.flags, is_only=len(alternatives) == 1) for one in alternatives)


def guard_of(pattern: str) -> tuple[str, str]:
    """Return the class that an expression begins to repeat without an end, empty if none, and the rest.

    The rest is the expression without its flags.
    """
    parser = Parser(pattern)
    alternatives = parser.alternatives()
    first = alternatives[0][0] if len(alternatives) == 1 and alternatives[0] else None
    guard = _endless(first)
    return guard.text if guard else "", pattern[parser.begin :]


def _endless(item: Item | None) -> Characters | None:
    """Return the class that a repeat without an end repeats."""
    match item:
        case Repeat(Characters() as repeated, _, None):
            return repeated
    return None


def _steps(items: list[Item], flags: str, *, is_only: bool) -> int:
    """Return the steps of one alternative, which may be the only one, for each character of a text."""
    total, visits, begin = 0, 1, 0
    for number, item in enumerate(items):
        repeated = _endless(item)
        if repeated is None or not isinstance(item, Repeat):
            continue
        before = _sequence(items[begin:number])
        arrivals = visits * before.ways
        total += visits * before.steps
        if number == len(items) - 1:
            return total + (arrivals * (item.least + 1) + 1) * repeated.steps
        is_guarded = number == 0 and is_only and (item.least or _first(items[1:]))
        if not is_guarded and not _begins_a_run(items[:number], repeated, flags):
            raise NotLinearError("has a repeat without an end that may begin anywhere in what it repeats")
        visits = arrivals * (before.longest - before.shortest + 1)
        total += 2 * visits * repeated.steps
        begin = number + 1
        _check(total)
    return total + visits * _sequence(items[begin:]).steps


def _begins_a_run(before: list[Item], repeated: Characters, flags: str) -> bool:
    """Return whether a repeat behind these can only begin where a run of its characters begins."""
    for item in reversed(before):
        match item:
            case Edge(r"\b"):
                is_begin = all(one.isalnum() or one == "_" for one in repeated.members)
            case Edge(edge):
                is_begin = edge == r"\A" or (
                    edge == "^" and ("m" not in flags or "\n" not in repeated.members)
                )
            case _:
                return isinstance(item, Characters | Repeat) and _excludes([item], repeated)
        if is_begin:
            return True
    return False


def _first(items: list[Item]) -> frozenset[str] | None:
    """Return the characters that a sequence begins with; None if it may match no character."""
    for item in items:
        match item:
            case Edge():
                continue
            case Characters(_, members):
                return members
            case Repeat(repeated, least) if least:
                return _first([repeated])
            case Branches(looks_around=False):
                firsts = [_first(one) for one in item.alternatives]
                return frozenset().union(*(one or () for one in firsts)) if all(firsts) else None
            case _:
                return None
    return None


def _sequence(items: list[Item]) -> _Cost:
    steps, ways, shortest, longest = 1, 1, 0, 0
    for number, item in enumerate(items):
        one = _cost(item)
        steps += 2 * ways * one.steps
        # Of all that a repeat of characters may give back, only one can go on with another character.
        repeated = item.item if isinstance(item, Repeat) else None
        is_one = isinstance(repeated, Characters) and _excludes(items[number + 1 :], repeated)
        ways *= 1 if is_one else one.ways
        shortest, longest = shortest + one.shortest, longest + one.longest
        _check(max(steps, ways))
    return _Cost(steps, ways, shortest, longest)


def _excludes(items: list[Item], repeated: Characters) -> bool:
    """Return whether a sequence begins with a character that is not of a class."""
    first = _first(items)
    return first is not None and first.isdisjoint(repeated.members)


def _cost(item: Item) -> _Cost:
    match item:
        case Characters():
            return _Cost(item.steps, 1, 1, 1)
        case Edge():
            return _Cost(1, 1, 0, 0)
        case Branches():
            costs = [_sequence(one) for one in item.alternatives]
            steps = sum(cost.steps + 1 for cost in costs)
            if item.looks_around:
                return _Cost(steps, 1, 0, 0)
            shortest, longest = min(cost.shortest for cost in costs), max(cost.longest for cost in costs)
            return _Cost(steps, sum(cost.ways for cost in costs), shortest, longest)
        case Repeat(most=None):
            raise NotLinearError("repeats a group without an end, or inside of a group")
    one, reach, steps, ways = _cost(item.item), 1, 1, 0
    for number in range((item.most or 0) + 1):
        ways += reach if number >= item.least else 0
        steps += reach * (one.steps + 1)
        reach *= one.ways
        _check(max(steps, ways))
    return _Cost(steps, max(ways, 1), item.least * one.shortest, (item.most or 0) * one.longest)


def _check(count: int) -> None:
    if count > _CAP:
        raise NotLinearError("has parts whose ways to match the same text multiply")


def problem_of(pattern: str) -> str:
    """Return what is wrong with a regular expression, as the rest of a sentence; empty if nothing is."""
    judged = _judged(pattern)
    return judged if isinstance(judged, str) else ""


def finder_of(pattern: str) -> Find | None:
    """Return what finds an expression's matches, in time in proportion to the text; None if it is not fit."""
    judged = _judged(pattern)
    return None if isinstance(judged, str) else judged


@lru_cache(maxsize=256)
def _judged(pattern: str) -> str | Find:
    """Return the finder of an expression, or what is wrong with it."""
    if len(pattern) > _LONGEST:
        return f"is longer than {_LONGEST} characters"
    try:
        with warnings.catch_warnings(category=Warning, action="ignore"):
            expression = re.compile(pattern)
            if expression.match("") is not None:
                return "matches the empty text"
            reason = _doubt(pattern)
            if not reason:
                return _by_python(expression)
    except (re.error, RecursionError, OverflowError) as error:
        return f"is no regular expression ({error})"
    searched = _by_re2(pattern)
    return f"{reason}, so that it {searched}" if isinstance(searched, str) else searched


def _doubt(pattern: str) -> str:
    """Return why Python's engine is not to run an expression; empty if it may."""
    try:
        return "" if steps_of(pattern) <= STEPS_MAX else "may take long for each character of a hostile text"
    except NotLinearError as error:
        return str(error)


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
        match = first.search(text)
        while match:
            yield match.span()
            match = expression.match(text, match.end()) or first.search(text, match.end())

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
        process_hooks.install()  # a console or a test may search before there is a handler for the hub

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
        for match in expression.finditer(readable):
            start, end = match.span()
            if end > start:
                yield start, end


_in_use: Final[weakref.WeakSet[_Re2]] = weakref.WeakSet()
_inherited: Final[list[object]] = []


def _after_fork() -> None:
    for searcher in list(_in_use):
        searcher.forget()


process_hooks.in_child(_after_fork)


def _translated(pattern: str) -> str:
    """Return an expression in RE2's syntax, with the classes that Python means."""
    translated: list[str] = []
    is_class = False
    for part in _PARTS.findall(pattern):
        one = part[1:]
        if part[0] == "\\" and one in _CLASSES:
            translated.append(_CLASSES[one] if is_class else f"[{_CLASSES[one]}]")
        elif part == "\\Z":
            translated.append("\\z")
        else:
            is_class = part[0] == "[" or (is_class and part != "]")
            translated.append(part)
    return "".join(translated)


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
