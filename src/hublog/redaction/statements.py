"""Secrets in statements of SQL, in their parameters, and in what pydantic says of an invalid value.

A statement names its columns in one place and gives their values in another: in ``VALUES``, or as parameters
behind it, in the order of the placeholders.
"""

import re
from collections.abc import Iterator
from functools import cache
from typing import Final

from hublog.redaction.key_values import is_placeholder
from hublog.redaction.secret_names import SecretNames, words
from hublog.redaction.text_ranges import Span

_KIND: Final = "value in a statement"
#: Characters from the verb of a statement on that are searched.
_LONGEST: Final = 16_384
#: A literal behind the words that say what it is.
_STATED: Final = re.compile(
    r"""\b(?:identified[ ]{1,4}+(?:with[ ]{1,4}+[^\s]{1,40}+[ ]{1,4}+)?(?:by|as)(?:[ ]{1,4}+password)?"""
    r"""|password(?:[ ](?:is|was)|[ ]for[ ][^\s]{1,80}+[ ]=)?)"""
    r"""[ ]{0,4}+\(?(?<=[ (])[ ]{0,4}+(?=\\{0,7}['"][^'"\s,;:)\]}])""",
    re.IGNORECASE,
)
_INSERT: Final = re.compile(
    r"""\b(?:insert|replace)\b[^()]{1,200}\(([^()]{1,4000})\)[^()]{0,100}?\bvalues\s{0,8}(?=\()""",
    re.IGNORECASE,
)
_VERB: Final = re.compile(r"\b(?:insert|update|select|delete|merge|replace)\b", re.IGNORECASE)
#: What SQLAlchemy and Django write before a statement.
_BEFORE: Final = re.compile(r"\[SQL: |\([0-9]{1,6}\.[0-9]{1,6}\) ")
_PARAMETERS: Final = re.compile(r"(?:\[parameters: |\b(?:args|params|parameters)\s?[=:]\s?)(?=[\[(])")
#: How a string goes on and ends, by the quote that opens it.
_STRINGS: Final = {"'": r"""'(?:[^'\\]++|\\.|'')*+'""", '"': r'''"(?:[^"\\]++|\\.)*+"'''}
#: Words of SQL that are no columns; behind the second ones a placeholder has none.
_WORDS: Final = words(
    """
    and or not in like ilike is between any all set where as distinct on when then else case end
    = <> != < > <= >= == || + - * / ~ ::text ::varchar ::bytea
    """
)
#: Around the name of a column.
_QUOTING: Final = " \"'`[]\\\r\n\t"
_NUMBER: Final = re.compile(r"-?[0-9.]+|null|true|false", re.IGNORECASE)
_NONE: Final = words("limit offset fetch values returning interval top")

#: One that is not closed goes to the end of the line; its end is looked for so far, see ``_find_stated``.
_QUOTED: Final = re.compile(
    r"""\\{0,7}(?:'((?:[^'\\\n]++|''|\\.)*+)'|"((?:[^"\\\n]++|\\.)*+)"|['"]([^\n]++))"""
)
_QUOTED_LONGEST: Final = 1_024
_LINE: Final = re.compile(r"[^\n]*+")
#: How ``http.cookiejar`` and ``requests`` show a cookie of any name.
_COOKIE: Final = re.compile(
    r"""(?:\bCookie\((?:version=[0-9None]{1,4}, )?name=[^\s]{1,200}+ value=["']"""
    r"""|<Cookie [^=\s<>]{1,200}+=)([^"'\s>]++)"""
)
#: What pydantic quotes, how far it may go, and how far above it the path of the field stands.
_INPUT: Final = re.compile(r"input_value=")
_INPUT_END: Final = re.compile(r", input_type=|\]?(?:\n|\\n)")
_INPUT_LONGEST: Final = 400
_ABOVE: Final = 600
_BREAK: Final = re.compile(r"\r?\n|\\{1,7}n")


def find_in_statements(text: str, names: SecretNames) -> Iterator[Span]:
    """Find what statements and validators say of secret columns and fields."""
    if "'" in text or '"' in text:
        yield from _find_stated(text)
        yield from _find_inserted(text, names)
        yield from _find_parameters(text, names)
    if "Cookie" in text:
        for cookie in _COOKIE.finditer(text):
            if not is_placeholder(cookie[1]):
                yield Span(*cookie.span(1), "value of a cookie")
    if "input_value=" in text:
        yield from _find_input(text, names)


@cache
def _token(unclosed: str) -> re.Pattern[str]:
    """Return the expression of a token where these quotes begin no text."""
    strings = "|".join(form for quote, form in _STRINGS.items() if quote not in unclosed)
    return re.compile(
        rf"""\s*+(?:(?P<text>[bBuUrRN]?(?:{strings or "(?!)"}))"""
        r"""|(?P<slot>\?|%s|%\(\w{1,64}\)s|\$[0-9]{1,4}|(?<!:):\w{1,64})|(?P<sign>[(),\[\]{}])"""
        r"""|(?P<word>[^\s"'(),\[\]{}?%$]++)|(?P<other>[%$"']))""",
        re.DOTALL,
    )


class _Tokens:
    """Reads a text token by token, forwards; the end of a quote that is not closed is looked for once.

    Args:
        text: any text.
        end: to where it is read.
    """

    def __init__(self, text: str, end: int) -> None:
        self.text = text
        self._end = end
        self._unclosed = ""

    def read(self, at: int) -> Iterator[re.Match[str]]:
        """Yield the tokens from a place on that is behind all that were read before."""
        while token := _token(self._unclosed).match(self.text, at, self._end):
            at = token.end()
            quote = token["other"]
            if quote in _STRINGS and quote not in self._unclosed:
                self._unclosed = "".join(sorted(self._unclosed + quote))
            yield token


def _find_stated(text: str) -> Iterator[Span]:
    done = 0
    for stated in _STATED.finditer(text):
        limit = stated.end() + _QUOTED_LONGEST
        quoted = _QUOTED.match(text, stated.end(), limit) if stated.start() >= done else None
        if quoted:
            start, end = quoted.span(quoted.lastindex or 0)
            rest = _LINE.match(text, end) if end >= limit else None
            done = rest.end() if rest else end
            if not is_placeholder(text[start:done]):
                yield Span(start, done, _KIND)


def _find_inserted(text: str, names: SecretNames) -> Iterator[Span]:
    """Find literals in ``VALUES`` by the place of their column."""
    done, tokens = 0, _Tokens(text, len(text))
    for insert in _INSERT.finditer(text):
        secret = [bool(names.secrecy(column.strip(_QUOTING))) for column in insert[1].split(",")]
        if any(secret) and insert.start() >= done:
            values, done = _items(tokens, insert.end(), secret, depth=1)
            yield from values


def _items(tokens: _Tokens, at: int, secret: list[bool], *, depth: int) -> tuple[list[Span], int]:
    """Find the strings at secret places of the tuples, or of the list, that open at ``at``.

    Args:
        tokens: of the text.
        at: where a bracket opens.
        secret: by place, whether its value is; a tuple of more values begins anew.
        depth: how many brackets are open inside of a tuple.

    Returns:
        The places, and to where the text was read: nothing before it has to be read once more.
    """
    values: list[Span] = []
    opened, place = 0, 0
    for token in tokens.read(at):
        at = token.end()
        sign = token["sign"]
        if sign and sign in "([{":
            opened += 1
            place = 0 if opened <= depth else place
        elif sign and sign in ")]}":
            opened -= 1
        elif sign and opened == depth:
            place += 1
        elif opened >= depth and token["text"] and secret[place % len(secret)]:
            start = token.start("text") + (1 if token["text"][0] in "'\"" else 2)
            if not is_placeholder(tokens.text[start : at - 1]):
                values.append(Span(start, at - 1, _KIND))
        if opened < 0 or (opened == 0 and not sign):
            break
    return values, at


def _find_parameters(text: str, names: SecretNames) -> Iterator[Span]:
    """Find the parameters of placeholders for secret columns."""
    done, tokens = 0, _Tokens(text, len(text))
    for marker in _PARAMETERS.finditer(text):
        if marker.start() < done:
            continue
        begin = max(done, marker.start() - _LONGEST)
        for before in _BEFORE.finditer(text, begin, marker.start()):
            begin = before.end()
        verb = _VERB.search(text, begin, marker.start())
        done = marker.end()
        slots = _slots(text, verb.start(), marker.start(), names) if verb else []
        if verb and not slots:  # Django's log has the values in their places, and the parameters once more
            slots = _slots(text, verb.start(), marker.start(), names, is_filled=True)
        if any(slots):
            is_list = text.startswith(("[(", "[["), marker.end())
            values, done = _items(tokens, marker.end(), slots, depth=2 if is_list else 1)
            yield from values


def _slots(text: str, start: int, end: int, names: SecretNames, *, is_filled: bool = False) -> list[bool]:
    """Return for each placeholder of a statement whether its column is secret.

    Args:
        text: has the statement.
        start: where it begins.
        end: where it ends.
        names: says which names are secret.
        is_filled: literals stand in place of the placeholders.
    """
    slots: list[bool] = []
    column = ""
    insert = _INSERT.search(text, start, end)
    columns = [name.strip(_QUOTING) for name in insert[1].split(",")] if insert else []
    values_at = insert.end() if insert else end
    for token in _Tokens(text, end).read(start):
        word, literal = token["word"] or "", token["text"] or ""
        is_literal = is_filled and (literal.startswith("'") or _NUMBER.fullmatch(word) is not None)
        if token["slot"] or is_literal:
            if token.start() >= values_at:
                column = columns[len(slots) % len(columns)]
            slots.append(bool(column) and bool(names.secrecy(column)))
        elif literal.startswith('"'):
            column = literal.strip('"')
        elif word.lower() in _NONE:
            column = ""
        elif word and word.lower() not in _WORDS and not text.startswith("(", token.end()):
            column = word.rpartition(".")[2].strip("`=<>!")
    return slots


def _find_input(text: str, names: SecretNames) -> Iterator[Span]:
    """Find the value that pydantic quotes of a secret field, and the rest of one it has cut."""
    for given in _INPUT.finditer(text):
        above = _BREAK.split(text[max(given.start() - _ABOVE, 0) : given.start()])
        path = above[-2].strip() if len(above) > 1 else ""
        end = _INPUT_END.search(text, given.end(), given.end() + _INPUT_LONGEST)
        stop = end.start() if end else min(given.end() + _INPUT_LONGEST, len(text))
        if any(names.secrecy(part) for part in path.split(".") if part):
            start = given.end()
        else:
            cut = text.find("...", given.end(), stop) if text[given.end() : given.end() + 1] in "{[" else -1
            start = cut + 3 if cut >= 0 else stop
        if start < stop and not is_placeholder(text[start:stop]) and not text.startswith(("{", "["), start):
            yield Span(start, stop, "value of a field")
