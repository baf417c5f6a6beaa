"""Whether a regular expression of the user is fit to run on every text: valid, and of bounded time.

Python's engine tries one way after the other. Where a repeat can share the same characters with another
one, or with itself from inside, the ways multiply, and one hostile text holds up the application.
"""

import re
import warnings
from collections.abc import Iterable
from functools import lru_cache
from importlib import import_module
from typing import Any, Final

# The tree that ``re`` itself compiles; the modules have no types.
ops: Any = import_module("re._constants")
parser: Any = import_module("re._parser")

#: Repeats of so many or more count as endless: what they multiply is too much already.
_ENDLESS: Final = 64
#: So many ways to share what they match may repeats have together; two endless ones have more.
_WAYS_MAX: Final = 2_000
#: So many copies of what is repeated are looked at beside each other.
_COPIES: Final = 12
_STEPS_MAX: Final = 20_000
#: What stands for all characters when two sets are compared.
_SAMPLE: Final = frozenset((*map(chr, range(256)), "Ω", "я", "中", "٣", "\u2028", "😀"))
_LONGEST: Final = 1_000

_REPEATS: Final = (ops.MAX_REPEAT, ops.MIN_REPEAT)


@lru_cache(maxsize=256)
def problem_of(pattern: str) -> str:
    """Return what is wrong with a regular expression, as the rest of a sentence; empty if nothing is."""
    if len(pattern) > _LONGEST:
        return f"is longer than {_LONGEST} characters"
    try:
        with warnings.catch_warnings(category=Warning, action="ignore"):
            expression = re.compile(pattern)
            tree = parser.parse(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        return f"is no regular expression ({error})"
    if expression.match(""):
        return "matches the empty text"
    try:
        return _Walk(tree.state.flags).sequence(tree, is_inside=False)
    except RecursionError:
        return "is nested too deep"


class _Walk:
    """Looks for repeats whose ways multiply."""

    def __init__(self, flags: int) -> None:
        self._flags = flags
        self._steps = 0

    def sequence(self, items: Iterable[Any], *, is_inside: bool) -> str:
        """Return what is wrong with items that follow each other.

        Args:
            items: of the parser's tree.
            is_inside: whether they are repeated without end.
        """
        #: Repeats whose characters all that came since may be a part of, with the number of their ways.
        shared: list[tuple[frozenset[str], int]] = []
        for op, detail in items:
            self._steps += 1
            if self._steps > _STEPS_MAX:
                return "is too complex"
            problem = self._item(op, detail, is_inside=is_inside)
            if problem:
                return problem
            possible, least, ways = self._reach(op, detail)
            if ways > 1:
                product = ways
                for other, number in shared:
                    product *= number if possible & other else 1
                if product > _WAYS_MAX:
                    return "has repeats that can share what they match in too many ways"
            if least:
                shared = [(other, number) for other, number in shared if possible & other]
            if ways > 1:
                shared.append((possible, ways))
        return ""

    def _item(self, op: object, detail: Any, *, is_inside: bool) -> str:  # noqa: ANN401, PLR0911  # the tree has no types; one return for each kind of item
        if op in _REPEATS:
            _, most, body = detail
            is_endless = most is ops.MAXREPEAT or most >= _ENDLESS
            if is_endless and is_inside:
                return "has an endless repeat inside an endless repeat"
            return self.sequence([*body] * min(most, _COPIES), is_inside=is_inside or is_endless)
        if op is ops.POSSESSIVE_REPEAT:
            return self.sequence(detail[2], is_inside=False)
        if op is ops.ATOMIC_GROUP:
            return self.sequence(detail, is_inside=False)
        if op is ops.SUBPATTERN:
            return self.sequence(detail[3], is_inside=is_inside)
        if op is ops.BRANCH:
            return self._branch(detail[1], is_inside=is_inside)
        if op in (ops.ASSERT, ops.ASSERT_NOT):
            return self.sequence(detail[1], is_inside=is_inside)
        if op in (ops.GROUPREF, ops.GROUPREF_EXISTS, ops.GROUPREF_IGNORE):
            return "refers back to a group"
        return ""

    def _branch(self, ways: list[Any], *, is_inside: bool) -> str:
        first: list[frozenset[str]] = []
        for way in ways:
            problem = self.sequence(way, is_inside=is_inside)
            if problem:
                return problem
            if is_inside:
                starts = self._first(way)
                if any(starts & other for other in first):
                    return "has alternatives inside an endless repeat that begin alike"
                first.append(starts)
        return ""

    def _first(self, items: Any) -> frozenset[str]:  # noqa: ANN401  # the tree has no types
        found: frozenset[str] = frozenset()
        for op, detail in items:
            possible, least, _ = self._reach(op, detail)
            if op is ops.SUBPATTERN:
                possible = self._first(detail[3])
            found |= possible
            if least:
                return found
        return found

    def _reach(self, op: object, detail: Any) -> tuple[frozenset[str], int, int]:  # noqa: ANN401  # as _item
        """Return which characters an item can match, how many at least, and in how many ways, roughly."""
        if op is ops.AT or op in (ops.ASSERT, ops.ASSERT_NOT):
            return frozenset(), 0, 1
        if op in _REPEATS or op is ops.POSSESSIVE_REPEAT:
            least, most, body = detail
            possible, shortest, ways = self._all(body)
            number = _ENDLESS if most is ops.MAXREPEAT else min(most - least + 1, _ENDLESS)
            # A possessive repeat gives nothing back: one way only.
            return possible, min(least, 1) * shortest, max(number, ways) if op in _REPEATS else 1
        if op is ops.ATOMIC_GROUP:
            return *self._all(detail)[:2], 1
        if op is ops.SUBPATTERN:
            return self._all(detail[3])
        if op is ops.BRANCH:
            alternatives = [self._all(way) for way in detail[1]]
            possible = frozenset().union(*(one[0] for one in alternatives))
            return possible, min(one[1] for one in alternatives), max(one[2] for one in alternatives)
        return self._characters(op, detail), 1, 1

    def _all(self, items: Iterable[Any]) -> tuple[frozenset[str], int, int]:
        possible: frozenset[str] = frozenset()
        least, ways = 0, 1
        for op, detail in items:
            self._steps += 1
            one, shortest, number = self._reach(op, detail)
            possible, least, ways = possible | one, least + shortest, max(ways, number)
        return possible, least, ways

    def _characters(self, op: object, detail: Any) -> frozenset[str]:  # noqa: ANN401  # the tree has no types
        """Return which of the sample a single character's item matches."""
        ignores_case = bool(self._flags & re.IGNORECASE)
        if op is ops.LITERAL:
            return _cases(chr(detail)) if ignores_case else frozenset({chr(detail)})
        if op is ops.NOT_LITERAL:
            return _SAMPLE - {chr(detail)}
        if op is not ops.IN:
            return _SAMPLE
        found: set[str] = set()
        is_negated = False
        for kind, value in detail:
            if kind is ops.NEGATE:
                is_negated = True
            elif kind is ops.LITERAL:
                found.add(chr(value))
            elif kind is ops.RANGE:
                found.update(one for one in _SAMPLE if value[0] <= ord(one) <= value[1])
            else:
                category = re.compile(_CATEGORIES[value])
                found.update(one for one in _SAMPLE if category.match(one))
        if ignores_case:
            found = {case for one in found for case in _cases(one)}
        return _SAMPLE - found if is_negated else frozenset(found)


_CATEGORIES: Final = {
    ops.CATEGORY_DIGIT: r"\d",
    ops.CATEGORY_NOT_DIGIT: r"\D",
    ops.CATEGORY_SPACE: r"\s",
    ops.CATEGORY_NOT_SPACE: r"\S",
    ops.CATEGORY_WORD: r"\w",
    ops.CATEGORY_NOT_WORD: r"\W",
}


def _cases(character: str) -> frozenset[str]:
    return frozenset({character, character.lower(), character.upper()})
