"""How many steps Python's engine takes for a regular expression, for each character of the worst text.

A part of the syntax is read that is small enough to be judged: characters and classes, repeats of these,
groups that are repeated a few times, alternatives, assertions. Each count is an upper bound; what is not
proven to be linear is refused. The reasoning:

- What is bounded (everything but a repeat without an end) takes a number of steps from each place of a text,
  in which the ways of its parts multiply. Alternatives that begin with different characters are one way, and
  so is a repeat of characters that what follows cannot begin with.
- A repeat without an end repeats one class of characters. It runs over each run of these once for each way to
  its beginning, if it can only begin where such a run begins: behind a character of another class, at the
  edge of a word, or as the first thing of the expression (the search sees to that, see ``guard``). At the end
  of the expression it may begin anywhere: what it runs over is matched, and not looked at again.
"""

import re
from dataclasses import dataclass, field
from typing import Final

#: Counts stop here.
_CAP: Final = 100_000
_ASCII: Final = frozenset(map(chr, range(128)))
#: Characters beyond ASCII are told apart by these kinds only.
_LETTER, _NUMBER, _BLANK, _OTHER = "a letter", "a digit", "a blank", "another"
_BEYOND: Final = frozenset({_LETTER, _NUMBER, _BLANK, _OTHER})
_EVERYTHING: Final = _ASCII | _BEYOND
#: Copies of a group that stand for its repeat.
_COPIES_MAX: Final = 8
_ITEMS_MAX: Final = 1_000
_DIGITS: Final = frozenset("0123456789") | {_NUMBER}
_SPACES: Final = frozenset(" \t\n\r\f\v\x1c\x1d\x1e\x1f") | {_BLANK}
_LETTERS: Final = frozenset(one for one in _ASCII if one.isalpha())
_WORDS: Final = frozenset(one for one in _ASCII if one.isalnum()) | {"_", _LETTER, _NUMBER}
_CATEGORIES: Final = {
    "d": _DIGITS,
    "s": _SPACES,
    "w": _WORDS,
    "D": _EVERYTHING - _DIGITS,
    "S": _EVERYTHING - _SPACES,
    "W": _EVERYTHING - _WORDS,
}
_CONTROLS: Final = {"n": "\n", "r": "\r", "t": "\t", "f": "\f", "v": "\v", "a": "\a"}
_CODE: Final = re.compile(r"x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})")
_COUNTS: Final = re.compile(r"\{(?:([0-9]{1,10})|([0-9]{0,10}),([0-9]{0,10}))\}")
_FLAGS: Final = re.compile(r"\(\?([ims]+)\)")
_GROUP: Final = re.compile(r"\((?:\?(?::|P<\w+>|(>)|(<?[=!])))?(?!\?)")


class NotProvenError(ValueError):
    """The expression is not proven to be linear; the text says why, as the rest of a sentence."""


@dataclass(frozen=True, slots=True)
class Characters:
    """One character of a class; ``weight`` says how long its test takes, ``text`` how it is written."""

    members: frozenset[str]
    weight: int
    text: str


@dataclass(frozen=True, slots=True)
class Repeat:
    """A repeat of one item; ``most`` None has no end; one that ``keeps`` gives nothing back."""

    item: "Item"
    least: int
    most: int | None
    keeps: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """Alternatives, one of which matches; one that ``keeps`` is not entered again from behind."""

    alternatives: "list[list[Item]]"
    keeps: bool = False


@dataclass(frozen=True, slots=True)
class Assertion:
    """What matches no character: ``kind`` as it is written, ``body`` of one that looks around."""

    kind: str
    body: "list[list[Item]]" = field(default_factory=list)


Item = Characters | Repeat | Group | Assertion


@dataclass(frozen=True, slots=True)
class _Cost:
    """Of an item or a sequence from one place: steps, ways to get through, characters from and to."""

    steps: int
    ways: int
    shortest: int
    longest: int


def steps_of(pattern: str) -> int:
    """Return the steps for each character of a text, at most.

    Raises:
        NotProvenError: there may be no such number.
    """
    reader = Reader(pattern)
    alternatives = [_flat(one) for one in reader.alternatives()]
    is_one = len(alternatives) == 1
    return sum(_linear(one, is_one=is_one, flags=reader.flags) for one in alternatives)


def guard_of(pattern: str) -> tuple[str, str]:
    """Return what the repeat without an end consists of that an expression begins with, and the rest of it.

    The rest is the expression without its flags. Without such a repeat the former is empty.
    """
    reader = Reader(pattern)
    alternatives = [_flat(one) for one in reader.alternatives()]
    first = alternatives[0][0] if len(alternatives) == 1 and alternatives[0] else None
    is_guarded = isinstance(first, Repeat) and first.most is None and isinstance(first.item, Characters)
    guard = first.item.text if is_guarded else ""  # type: ignore[union-attr]  # just looked at
    return guard, pattern[reader.begin :]


class Reader:
    """Reads an expression that ``re`` has compiled.

    Attributes:
        flags: those in front, as they are written.
        begin: where the expression begins behind these.
    """

    def __init__(self, pattern: str) -> None:
        self._text = pattern
        #: Whether the class that is read names single characters beyond ASCII.
        self._is_rough = False
        found = _FLAGS.match(pattern)
        self.flags = found[1] if found else ""
        self.begin = self._at = found.end() if found else 0

    def alternatives(self) -> list[list[Item]]:
        """Return the alternatives of all that is left."""
        found = self._alternatives()
        if self._at < len(self._text):
            raise NotProvenError("is not understood")
        return found

    def _alternatives(self) -> list[list[Item]]:
        found: list[list[Item]] = [[]]
        while self._at < len(self._text) and self._text[self._at] != ")":
            if self._text[self._at] == "|":
                self._at += 1
                found.append([])
            else:
                found[-1].append(self._repeated(self._item()))
        return found

    def _take(self, number: int = 1) -> str:
        self._at += number
        return self._text[self._at - number : self._at]

    def _item(self) -> Item:
        one = self._text[self._at]
        if one == "(":
            return self._group()
        if one == "[":
            return self._class()
        if one == "\\":
            return self._escape()
        self._take()
        if one in "^$":
            return Assertion(one)
        if one == ".":
            return Characters(_EVERYTHING if "s" in self.flags else _EVERYTHING - {"\n"}, 1, one)
        return self._literal(one, re.escape(one))

    def _literal(self, one: str, text: str) -> Characters:
        return Characters(self._cases(_members(one)), 1, text)

    def _cases(self, members: frozenset[str]) -> frozenset[str]:
        """Add what is equal where case is ignored; letters of ASCII have equals beyond."""
        if "i" not in self.flags:
            return members
        letters = {one for one in members & _ASCII if one.isalpha()}
        more = {case for one in letters for case in (one.lower(), one.upper(), _LETTER)}
        return members | more | (_LETTERS if _LETTER in members else frozenset())

    def _escape(self) -> Item:
        start = self._at
        self._take()
        one = self._take()
        if one in "bBAZz":
            return Assertion(f"\\{one}")
        if one in _CATEGORIES:
            return Characters(_CATEGORIES[one], 1, f"\\{one}")
        return self._literal(self._character(one), self._text[start : self._at])

    def _character(self, one: str) -> str:
        """Return the character whose escape begins with this, behind the backslash."""
        if one in _CONTROLS:
            return _CONTROLS[one]
        if one in "xuU":
            code = _CODE.match(self._text, self._at - 1)
            if code:
                self._at = code.end()
                return chr(int(code[code.lastindex or 0], 16))
        if one.isdigit():
            raise NotProvenError("refers back to a group")
        if one.isalnum():
            raise NotProvenError(f"has the escape {one!r}")
        return one

    def _class(self) -> Characters:
        start = self._at
        self._take()
        is_negated = self._text[self._at] == "^"
        self._at += is_negated
        members: frozenset[str] = frozenset()
        self._is_rough = False
        number = 0
        first = self._at
        while self._text[self._at] != "]" or self._at == first:
            members |= self._range()
            number += 1
        self._take()
        if is_negated:  # of a kind beyond ASCII it holds some where not all of the kind are named
            members = _EVERYTHING - (members - _BEYOND if self._is_rough else members)
        else:
            members = self._cases(members)
        return Characters(members, max(1, number // 4), self._text[start : self._at])

    def _range(self) -> frozenset[str]:
        low = self._one_of_class()
        if self._text[self._at] != "-" or self._text[self._at + 1] == "]":
            self._is_rough |= isinstance(low, str) and low not in _ASCII
            return low if isinstance(low, frozenset) else _members(low)
        self._take()
        high = self._one_of_class()
        if isinstance(low, frozenset) or isinstance(high, frozenset):
            raise NotProvenError("has a class that is not understood")
        found = frozenset(one for one in _ASCII if low <= one <= high)
        self._is_rough |= high not in _ASCII
        return found if high in _ASCII else found | _BEYOND

    def _one_of_class(self) -> str | frozenset[str]:
        one = self._take()
        if one != "\\":
            return one
        one = self._take()
        if one in _CATEGORIES:
            return _CATEGORIES[one]
        return "\b" if one == "b" else self._character(one)

    def _group(self) -> Item:
        found = _GROUP.match(self._text, self._at)
        if not found:
            raise NotProvenError("has a group of a kind that Python's engine may take long for")
        self._at = found.end()
        inside = self._alternatives()
        self._take()
        return Assertion(found[2], inside) if found[2] else Group(inside, keeps=bool(found[1]))

    def _repeated(self, item: Item) -> Item:
        one = self._text[self._at : self._at + 1]
        counts = _COUNTS.match(self._text, self._at) if one == "{" else None
        if one and one in "*+?":
            self._take()
            least, most = {"*": (0, None), "+": (1, None), "?": (0, 1)}[one]
        elif counts:
            self._at = counts.end()
            least = int(counts[1] or counts[2] or 0)
            most = least if counts[1] else int(counts[3]) if counts[3] else None
        else:
            return item
        if isinstance(item, Assertion):
            raise NotProvenError("repeats an assertion")
        kind = self._text[self._at : self._at + 1]
        self._at += bool(kind) and kind in "?+"
        return Repeat(item, least, most, keeps=kind == "+")


def _members(one: str) -> frozenset[str]:
    """Return a character; one beyond ASCII stands for all of these."""
    return frozenset({one}) if one in _ASCII else _BEYOND


def _flat(items: list[Item]) -> list[Item]:
    """Return a sequence with what stands in groups for the sake of a name only."""
    found: list[Item] = []
    for item in items:
        match item:
            case Group([inside], keeps=False):
                found += _flat(inside)
            case Group([[Repeat(Characters()) as only]], keeps=True):
                found.append(Repeat(only.item, only.least, only.most, keeps=True))
            case Repeat(Group([inside], keeps=False), least, most) if least == most and least <= _COPIES_MAX:
                found += _flat(inside) * least
            case _:
                found.append(item)
        if len(found) > _ITEMS_MAX:
            raise NotProvenError("is too long")
    return found


def _first(items: list[Item]) -> frozenset[str] | None:
    """Return the characters that a sequence may begin with; None if it may match no character."""
    found: frozenset[str] = frozenset()
    for item in items:
        match item:
            case Assertion():
                continue
            case Characters():
                return found | item.members
            case Repeat():
                inside = _first([item.item])
                if inside is None:
                    return None
                found |= inside
                if item.least:
                    return found
            case Group():
                for one in item.alternatives:
                    inside = _first(one)
                    if inside is None:
                        return None
                    found |= inside
                return found
    return None


def _is_one_way(item: Item, rest: list[Item]) -> bool:
    """Return whether of all that a repeat of characters may give back only one can go on."""
    if not (isinstance(item, Repeat) and isinstance(item.item, Characters)):
        return False
    following = _first(rest)
    return item.keeps or (following is not None and not following & item.item.members)


def _sequence(items: list[Item]) -> _Cost:
    steps, ways, shortest, longest = 1, 1, 0, 0
    for number, item in enumerate(items):
        one = _cost(item)
        steps += ways * 2 * one.steps
        ways *= 1 if _is_one_way(item, items[number + 1 :]) else one.ways
        shortest, longest = shortest + one.shortest, longest + one.longest
        if steps > _CAP or ways > _CAP:
            raise NotProvenError("has parts whose ways to match the same text multiply")
    return _Cost(steps, ways, shortest, longest)


def _cost(item: Item) -> _Cost:
    """Return the cost of an item that is bounded."""
    match item:
        case Characters():
            return _Cost(item.weight, 1, 1, 1)
        case Assertion():
            return _Cost(1 + sum(_sequence(one).steps for one in item.body), 1, 0, 0)
        case Group():
            return _alternatives(item)
        case Repeat(most=None):
            raise NotProvenError("repeats a group without an end, or inside of a group")
    return _repeat(item, item.most or 0)


def _repeat(item: Repeat, most: int) -> _Cost:
    one = _cost(item.item)
    reach, steps, ways = 1, 1, 0
    for number in range(most + 1):
        ways += reach if number >= item.least else 0
        steps += reach * (one.steps + 1)
        reach *= one.ways
        if steps > _CAP or ways > _CAP:
            raise NotProvenError("has parts whose ways to match the same text multiply")
    ways = 1 if item.keeps else max(ways, 1)
    return _Cost(steps, ways, item.least * one.shortest, most * one.longest)


def _alternatives(group: Group) -> _Cost:
    costs = [_sequence(one) for one in group.alternatives]
    steps = sum(cost.steps for cost in costs) + len(costs)
    ways = sum(cost.ways for cost in costs)
    firsts = [_first(one) for one in group.alternatives]
    seen: frozenset[str] = frozenset()
    for first in firsts:
        if first is None or first & seen:
            break
        seen |= first
    else:
        ways = max(cost.ways for cost in costs)
    shortest, longest = min(cost.shortest for cost in costs), max(cost.longest for cost in costs)
    return _Cost(steps, 1 if group.keeps else ways, shortest, longest)


def _linear(items: list[Item], *, is_one: bool, flags: str) -> int:
    """Return the steps of a whole alternative for each character of a text.

    Args:
        items: the alternative, flat.
        is_one: whether the expression has no other, so that a repeat in front can be guarded.
        flags: of the expression.
    """
    total, visits = 0, 1
    begin = 0
    for number, item in enumerate(items):
        if not (isinstance(item, Repeat) and item.most is None and isinstance(item.item, Characters)):
            continue
        before = _sequence(items[begin:number])
        arrivals = visits * before.ways
        total += visits * before.steps
        if number == len(items) - 1:
            return total + arrivals * (item.least + 1) * item.item.weight + item.item.weight
        if not _begins_with_its_run(items, number, is_one=is_one, flags=flags):
            raise NotProvenError("has a repeat without an end that may begin anywhere in what it repeats")
        visits = arrivals * (before.longest - before.shortest + 1)
        total += 2 * visits * item.item.weight
        begin = number + 1
        if total > _CAP:
            raise NotProvenError("has parts whose ways to match the same text multiply")
    return total + visits * _sequence(items[begin:]).steps


def _begins_with_its_run(items: list[Item], number: int, *, is_one: bool, flags: str) -> bool:
    """Return whether a repeat can only begin where a run of its characters begins."""
    repeat = items[number]
    members = _first([repeat.item]) if isinstance(repeat, Repeat) else None
    if members is None:
        return False
    for item in reversed(items[:number]):
        match item:
            case Assertion(kind):
                is_edge = kind == "\\b" and members <= _WORDS
                is_start = kind == "\\A" or (kind == "^" and ("m" not in flags or "\n" not in members))
                if is_edge or is_start:
                    return True
            case Characters() | Repeat(Characters()):
                return not (_first([item]) or members) & members
            case _:
                return False
    return number == 0 and is_one
