"""The route of a request of Django as a text to group by, written with ``path`` or with ``re_path``."""

import re
from functools import lru_cache
from typing import Final

#: What no route of ``path`` has: Django's own check warns of the first three.
_REGEX: Final = re.compile(r"\(\?|^\^|\$$|\\|\(.*\)", re.DOTALL)
#: Of a group: one that is named, and those that are no part of what is read.
_NAMED: Final = re.compile(r"\?P<(\w+)>")
_SILENT: Final = ("?=", "?!", "?<=", "?<!", "?#", "?P=")
_QUANTIFIER: Final = re.compile(r"(?:[?*+]|\{[0-9,]+\})[?+]?")
#: Anchors and boundaries, written with a backslash.
_ANCHORS: Final = frozenset("AZzbB")
_VARIABLE: Final = "<var>"


@lru_cache(maxsize=4_096)
def route_text(route: str) -> str:
    """Return the route of a resolved request with a slash in front.

    What ``re_path`` names is shown as ``path`` shows it: ``^orders/(?P<pk>[0-9]+)/$`` as ``/orders/<pk>/``,
    and a group without a name as ``<var>``.
    """
    return f"/{_simplified(route) if _REGEX.search(route) else route}"


def _simplified(regex: str) -> str:
    """Return a regular expression as a path with variables."""
    shown: list[str] = []
    place, length = 0, len(regex)
    while place < length:
        sign = regex[place]
        end = place + 1
        if sign == "\\":
            end = place + 2
            escaped = regex[place + 1 : end]
            if escaped.isalnum():
                shown += [] if escaped in _ANCHORS else [sign, escaped]
            else:
                shown.append(escaped)
        elif sign == "(":
            end = _end_of_group(regex, place)
            shown.append(_group(regex[place + 1 : end - 1]))
        elif sign == "[":
            end = _end_of_class(regex, place)
            quantifier = _QUANTIFIER.match(regex, end)
            end = quantifier.end() if quantifier else end
            shown.append(regex[place:end])
            place = end
            continue
        elif sign not in "^$":
            shown.append(sign)
        quantifier = _QUANTIFIER.match(regex, end)
        place = quantifier.end() if quantifier else end
    return "".join(shown)


def _group(inner: str) -> str:
    """Return what stands for a group, by what is between its parentheses."""
    named = _NAMED.match(inner)
    if named:
        return f"<{named[1]}>"
    if inner.startswith(_SILENT):
        return ""
    if inner.startswith("?"):
        text = _simplified(inner.partition(":")[2])
        return f"({text})" if "|" in text else text
    # Where some groups have names, Django does not look at those without.
    return _simplified(inner) if "(?P<" in inner else _VARIABLE


def _end_of_group(regex: str, place: int) -> int:
    """Return the place behind the parenthesis that closes the one that is here."""
    depth = 0
    while place < len(regex):
        sign = regex[place]
        if sign == "[":
            place = _end_of_class(regex, place)
            continue
        depth += (sign == "(") - (sign == ")")
        place += 2 if sign == "\\" else 1
        if not depth:
            break
    return place


def _end_of_class(regex: str, place: int) -> int:
    """Return the place behind a set of characters; a bracket that comes first in it does not close it."""
    place += 2 if regex.startswith("[^", place) else 1
    if regex.startswith("]", place):
        place += 1
    while place < len(regex) and regex[place] != "]":
        place += 2 if regex[place] == "\\" else 1
    return place + 1
