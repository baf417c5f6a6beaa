"""Secrets in a text that stand behind their name: ``password=...``, ``"token": "..."``, ``Cookie: ...``."""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple, TypeAlias

from hublog.redaction.secret_names import Secrecy, SecretNames, split, words
from hublog.redaction.text_ranges import MARKED, Span, is_mark

#: A name, what closes it, and what stands between it and its value.
_NAMED: Final = re.compile(
    r"""(?<![\w.$-])([\w.$-]++)(?:[\\"'\])]|\[(?=\])|%2[27]|%5[Dd]|%5[Bb](?=%5[Dd])){0,6}+"""
    r"""(?:[ \t]{0,8}+(=>|:=|==|=|:|%3[DdAa]|>|,(?=[ ]?[bBuU]?\\{0,7}["']))|(?=[ \t]))[ \t]{0,8}+"""
)
#: The type of a value in YAML.
_TAG: Final = re.compile(r"!!(?:str|binary|int|float)[ ]{1,8}+")
#: What may follow in quotes; one that is not closed goes to the end of the line.
_QUOTED: Final = re.compile(
    r"""[bBuUrRfF]{0,2}+(?:"((?:[^"\\]++|\\.)*+)"|'((?:[^'\\]++|\\.)*+)'|["'`]([^\n]*+))""", re.DOTALL
)
#: Further parts of one that is broken into lines, as ``pprint`` does.
_CONTINUED: Final = re.compile(
    r"""["'][ \t]{0,8}+\r?\n[ \t]*+[bBuU]?(?:"(?:[^"\\]++|\\.)*+"|'(?:[^'\\]++|\\.)*+')(?![ \t]{0,8}+[:=])""",
    re.DOTALL,
)
#: And with backslashes before each quote, as JSON inside a text has it.
_ESCAPED: Final = re.compile(r"""[bBuUrRfF]{0,2}+(\\{1,15}+)(["'])""")
_QUOTE: Final = re.compile(r"""(\\*+)(["'])""")
#: And with each quote escaped for a query.
_PERCENT: Final = re.compile(r"""(?:%20|\+){0,4}+%22((?:%5[Cc]%22|(?!%22)[^\s"'&])*+)""")
#: On the lines that follow: one value, or a block of YAML.
_BREAK: Final = r"(?:\r?\n|(?:\\{1,7}+r)?\\{1,7}+n)"  # in a repr or in JSON, too
_NEXT_LINE: Final = re.compile(
    rf"{_BREAK}[ \t]++(?![-*][ ]|[\w.-]{{1,96}}+[ ]?:(?:\s|\\|\Z))(?=[^\s\\]|\\++[\"'])"
)
_BLOCK: Final = re.compile(
    rf"[|>][0-9+-]{{0,2}}+[ \t]*+{_BREAK}([ \t]++)((?:(?!{_BREAK})[^\n])++"
    rf"(?:{_BREAK}\1(?:(?!{_BREAK})[^\n])*+|{_BREAK}(?={_BREAK}))*+)"
)
_MARKED: Final = re.compile(r"""[bBuUrRfF]{0,2}+\\{0,7}+["'`]?""" + MARKED.pattern)
#: Without quotes: to a blank, a quote, ``&``, ``;`` or an escaped line break and a name; a comma or bracket
#: belongs to it inside a word only.
_BARE: Final = re.compile(
    r"""(?:[^\s"'`,;&)\]}<>\\]++|\\(?!["']|(?:r\\{1,7}+)?n[ \t]{0,8}+[\w.-]{1,40}+["']?[ ]?[=:])"""
    r"""|[)\]}]++(?=[\w&#!$%*+/?@^~|-]|[:.=][^\s"'])"""
    r"""|>(?=[A-Za-z0-9])|(?<![(\[{=])["'`](?=[\w#!$%*+/?@^~|-])|<(?!/)|,(?![\s"']|\Z|[\w.-]{1,40}+["']?[=:])"""
    r"""|&(?!\#|[\w.%-]{1,40}+(?:\[[^\]\s]{0,40}+\])?[=;]|[\s"']|\Z)|;(?![\s"']|\Z|[\w.][\w .-]{0,40}+=))++"""
)
#: Schemes that stay: what follows is the secret.
_SCHEME: Final = re.compile(
    r"(Bearer|Basic|Negotiate|NTLM|Token|ApiKey|Api-Key|Key|SharedKey|DPoP|JWT)(?:[ \t]{1,4}+|%20|\+)",
    re.IGNORECASE,
)
#: The end of a line in a repr or in JSON: what follows is a header, the end, or anything behind a return.
_ESCAPED_BREAK: Final = (
    r"\\{1,7}+r\\{1,7}+n|\\{1,7}+n(?=[ \t]{0,8}+(?:[\w.-]{1,40}+\\{0,7}[\"']?[ ]?[:=]|[\"'\\]|\Z))"
)
_LINE: Final = re.compile(rf"(?:[^\r\n\\]++|(?!{_ESCAPED_BREAK})\\)++")
_IN_DOUBLE: Final = re.compile(rf'(?:[^"\r\n\\]++|(?!{_ESCAPED_BREAK})\\[^\r\n])*+')
_IN_SINGLE: Final = re.compile(rf"(?:[^'\r\n\\]++|(?!{_ESCAPED_BREAK})\\[^\r\n])*+")
#: The quote that opens right before a name.
_OPENED: Final = re.compile(r"""(\\{0,7}+)(["'])\Z""")
#: The same up to the next field of a line of ``name=value``.
_FIELDS: Final = re.compile(
    rf"(?:[^\r\n\\ ,;&]++|(?!{_ESCAPED_BREAK})\\|[ ,;&]++(?![ ,;&]|[\w.-]{{1,40}}+=))++"
)
_FIRST: Final = re.compile(r"[^\s]{1,4096}+")
_OPENING: Final = re.compile(r"""[bBuUrRfF]{0,2}+\\{0,15}+["'`]""")
#: A quote that goes on in a word, alone or doubled as in SQL; and what follows one that does close.
_GOES_ON: Final = re.compile(r"""(["'])\1?[^\W_]""")
_CLOSES: Final = re.compile(r"""\s{0,8}+(?:[,;)\]}>"']|\\|\Z)""")
_REST_DOUBLE: Final = re.compile(r'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_REST_SINGLE: Final = re.compile(r"'(?:[^'\\]++|\\.)*+'", re.DOTALL)
#: What stands between two tags, and the value of a part of a form.
_CONTENT: Final = re.compile(r"\s*+<!\[CDATA\[((?:[^\]]++|\](?!\]>))*+)|([^<]*+)</")
_FORM_VALUE: Final = re.compile(rf"(?:(?!{_BREAK}--)[\s\S])*+")
_BEARER: Final = re.compile(r"(?:Bearer|Basic)(?:[ ]{1,4}+|%20|\+)", re.IGNORECASE)
#: The type of an argument stands between its name and its default.
_ANNOTATED: Final = re.compile(r"[ ]{0,4}+=(?!=)[ ]{0,4}+")
#: What describes a field instead of giving its value.
_SCHEMA: Final = re.compile(r"""\{\s{0,8}+\\{0,7}+["'](?:type|\$ref)\\{0,7}+["']\s{0,8}+:""")
_BRACKETS: Final = re.compile(r"[\[\](){}]")
_OPENS: Final = frozenset("[({")
_QUOTES: Final = frozenset("\"'")
_LINE_ENDS: Final = frozenset({"", "\r", "\n"})
_OPTION_SHORTEST: Final = 3
#: Their values may be sentences.
_PHRASES: Final = frozenset({"passphrase", "passphrases", "mnemonic", "phrase"})
#: Lower-case words up to one that stands in sentences only.
_SENTENCE: Final = re.compile(
    r"[a-z]{2,16}+(?:[ ][a-z]{2,16}+){0,2}?[ ]"
    r"(?:the|this|is|are|was|of|and|or|in|to|be|must|may|by|from|with|for|what)(?=[ .,]|\Z)"
)
_CLASS: Final = re.compile(r"(?:[A-Z][a-z0-9]+){2,8}")
#: What a value may begin with that is read in its own way.
_ODD: Final = frozenset("%+|>\\\r\n")
_HEX: Final = re.compile(r"[0-9A-Fa-f]{2}")
_BEFORE: Final = re.compile(r"(\w+)[ -]\Z")
#: Before a name and its value in a list of pairs: ``[("password", "...")``.
_PAIR: Final = re.compile(r"""[\[(,][ ]?[\[(][bBuU]?\\{0,7}["']\Z""")
#: The same alone, whose second item is no name as well: it has other signs than letters.
_PAIR_ALONE: Final = re.compile(r"""(["']),[ ]([bB]?)(["'])(?![A-Za-z_.]*+\3)[^\s"'\\]{1,256}+\3\)""")
_PAIR_LONGEST: Final = 12
_TAG_LONGEST: Final = 48
#: SecretNames of two words with a blank between them end in one of these.
_SECOND: Final = words("key keys string id code codes phrase")
#: A name and its value as two items: in a list of items, an element of HTML or a part of a form.
_ITEM: Final = re.compile(
    r"""(?<![a-zA-Z])(?:name|key|Name|Key)\\{0,7}+["']?[ ]?[=:][ ]?\\{0,7}+["']([\w.-]{2,96}+)\\{0,7}+["']"""
    r"""[ ]?,?\s{0,8}+\\{0,7}+["']?[vV]alue\\{0,7}+["']?[ ]?[=:][ ]?"""
)
#: The same in the other order: what closes the value, and the name behind it.
_ITEM_REVERSED: Final = re.compile(
    r"""(\\{0,7}+["'])[ ]?,?\s{0,8}+\\{0,7}+["']?(?:name|key|Name|Key)\\{0,7}+["']?[ ]?[=:][ ]?\\{0,7}+["']"""
    r"""([\w.-]{2,96}+)\\{0,7}+["']"""
)
_VALUE_OPENS: Final = re.compile(r"""alue\\{0,7}+["']?[ ]?[=:][ ]?(\\{0,7}+["'])""")
#: How far before the name the value of this kind of item begins at most.
_REVERSED_LONGEST: Final = 1_024
#: In Terraform a variable's default, in ``.netrc`` what stands behind the user.
_DEFAULT: Final = re.compile(
    r"""\bvariable[ ]"([\w.-]{2,96}+)"\s{0,8}+\{[^{}]{0,400}?\bdefault[ ]{0,8}+=[ ]?"""
)
_NETRC: Final = re.compile(
    r"\b(?:machine\s{1,8}+\S{1,256}+|default)(?:\s{1,8}+(?:login|account)\s{1,8}+\S{1,256}+){1,2}+"
    r"\s{1,8}+(password)\s{1,8}+"
)
_PART: Final = re.compile(
    rf"""(?<![a-zA-Z])name=\\{{0,7}}+"([\w.\[\]-]{{2,96}}+)\\{{0,7}}+"(?:;[^\r\n\\]{{0,200}}+)?"""
    rf"""{_BREAK}(?:[\w-]{{1,40}}+:[^\r\n\\]{{0,200}}+{_BREAK}){{0,4}}{_BREAK}"""
)
#: In pydantic's list of errors the path of a field, and behind it what was given there.
_PATH: Final = re.compile(r"""["']loc\\{0,7}+["']:[ ]?[\[(]([^\[\](){}]{1,400}+)[\])]""")
_GIVEN: Final = re.compile(r"""["']input\\{0,7}+["']:[ ]?(?![\[{])""")
_GIVEN_BEHIND: Final = 1_000
_AROUND: Final = " \"'\\"
#: An element of XML that has attributes.
_NAMED_ELEMENT: Final = re.compile(
    r"""<[\w.:-]{1,96}+[ ](?:[^<>]{0,400}?[ ])?name=["']([\w.-]{2,96}+)["'][^<>]{0,400}+(?<!/)>"""
)
_ELEMENT: Final = re.compile(r"<(?:[\w.-]{1,40}+:)?([\w.-]{2,96}+)[ ][^<>]{0,400}+(?<!/)>")
_BEFORE_LONGEST: Final = 24
#: What stands where a secret would, and is none.
_NO_VALUES: Final = words(
    """
    true false none null nil undefined unset missing required invalid expired revoked empty yes no n/a unknown
    on off await
    """
)
#: After ``name: `` these begin a sentence about the secret.
_PROSE: Final = words(
    """
    a an the this that it its is are was were be been must may might can cannot could should shall will would
    not no at to in on of for from by with without and or but if has have had does do did please your our must
    required missing invalid incorrect wrong expected unexpected too field fields value values header
    reset changed updated rejected accepted granted denied ok failed success successful succeeded found
    enabled disabled provided sent str string int bytes bool optional raise return await new
    """
)
#: Conversions, fields and variables of templates; asterisks and the like; marks in angle brackets.
_PLACEHOLDER: Final = re.compile(
    r"(?:%(?:\(\w{1,64}+\))?[-#0 +]{0,3}+[0-9*]{0,3}+(?:\.[0-9]{1,3}+)?[sdrfiax]"
    r"|\{(?:[A-Za-z_][\w.]{0,63}+)?(?:![rsa])?(?::[^{}\s]{0,16}+)?\}|\$(?:\{\w{1,64}+\}|[A-Z_]{2,64}+|[0-9]{1,3}+)"
    r"|[*•.xX]{3,}+|<[A-Za-z][\w .:,=-]{2,200}+>|[*]{1,2}+)(?=[\s\"'`,;&)\]}<]|::|\.?(?:\s|\Z))"
)
_SMALL_DIGITS: Final = 4
#: ``code`` and ``key`` in a query are secret from this length on: sign-in codes are long, status codes short.
_QUERY_NAMES: Final = frozenset({"code", "key"})
_QUERY_SHORTEST: Final = 16

#: From, to before, and whether a secret stands there.
_Place: TypeAlias = tuple[int, int, bool]


def find_key_values(text: str, names: SecretNames, *, is_code: bool = False) -> Iterator[Span]:
    """Find the values of secret names in a text.

    Args:
        text: any text.
        names: says which names are secret.
        is_code: a line of Python, in which only literals are secret.
    """
    at = 0
    while named := _NAMED.search(text, at):
        at = named.end()
        name, separator = named[1], named[2]
        secrecy = _secrecy(text, named.start(1), name, separator, names)
        if secrecy:
            value = _Value(text, name, secrecy, is_code=is_code, is_prose=separator in (":", None))
            place = value.read_behind(separator, named.start(1), at)
            if place is not None:
                start, end, is_secret = place
                at = max(at, end)
                if is_secret:
                    yield Span(start, end, f"value of {name[-32:]}")
    if not is_code:
        yield from _find_items(text, names)
        if "alue" in text:
            yield from _find_reversed(text, names)
        if "loc" in text and "input" in text:
            yield from _find_given(text, names)


def _find_items(text: str, names: SecretNames) -> Iterator[Span]:
    """Find the values of secret names that stand in an item or an element of their own."""
    expressions: list[re.Pattern[str]] = []
    if "alue" in text or "form-data" in text:
        expressions += _ITEM, _PART
    if "</" in text:
        expressions += _ELEMENT, _NAMED_ELEMENT
    if "variable" in text:
        expressions.append(_DEFAULT)
    if " password " in text:
        expressions.append(_NETRC)
    for expression in expressions:
        done = 0  # a value may go on to the end of the text, and is read once
        for item in expression.finditer(text):
            name = item[1]
            secrecy = names.secrecy(name)
            if not secrecy or item.start() < done:
                continue
            value = _Value(text, name, secrecy, is_code=False, is_prose=False)
            read = _READ.get(expression, _Value.read)
            place = read(value, item.end())
            done = place[1] if place is not None else done
            if place is not None and place[2]:
                yield Span(place[0], place[1], f"value of {name[-32:]}")


def _find_reversed(text: str, names: SecretNames) -> Iterator[Span]:
    """Find the values of items whose name stands behind their value."""
    for item in _ITEM_REVERSED.finditer(text):
        if not names.secrecy(item[2]):
            continue
        value_at = text.rfind("alue", max(item.start() - _REVERSED_LONGEST, 0), item.start())
        opening = _VALUE_OPENS.match(text, value_at) if value_at >= 0 else None
        if opening and opening[1] == item[1] and item[1] not in text[opening.end() : item.start()]:
            value = text[opening.end() : item.start()]
            if not is_placeholder(value):
                yield Span(opening.end(), item.start(), f"value of {item[2][-32:]}")


def _find_given(text: str, names: SecretNames) -> Iterator[Span]:
    """Find what pydantic's list of errors quotes of a secret field."""
    paths = list(_PATH.finditer(text))
    done = 0
    for path, following in zip(paths, [*paths[1:], None], strict=True):
        secrecy = secrecy_of_path(names, [part.strip(_AROUND) for part in path[1].split(",")])
        if not secrecy or path.start() < done:
            continue
        end = min(following.start() if following else len(text), path.end() + _GIVEN_BEHIND)
        given = _GIVEN.search(text, path.end(), end)
        value = _Value(text, "input", secrecy, is_code=False, is_prose=False)
        place = value.read(given.end()) if given else None
        if place is not None:
            done = place[1]
            if place[2]:
                yield Span(place[0], place[1], "value of a field")


def secrecy_of_path(names: SecretNames, path: Iterable[object]) -> Secrecy:
    """Return how secret the value of a field is, by the names on the path to it."""
    return next(
        (secrecy for part in path if type(part) is str and (secrecy := names.secrecy(part))), Secrecy.NONE
    )


def _secrecy(text: str, start: int, name: str, separator: str | None, names: SecretNames) -> Secrecy:
    if not _is_separated(text, start, name, separator):
        return Secrecy.NONE
    secrecy = names.secrecy(name) or names.secrecy(name[_escaped(text, start, name) :])
    if secrecy:
        # A parser reports the token that it did not expect.
        is_parsed = separator == ":" and text.endswith("xpected ", max(start - 8, 0), start)
        # Azure's libraries say which class of theirs failed, and why.
        is_class = separator == ":" and name.endswith("Credential") and _CLASS.fullmatch(name) is not None
        return Secrecy.NONE if is_parsed or is_class else secrecy
    if name in _QUERY_NAMES and text[start - 1 : start] in ("?", "&"):
        return Secrecy.TEXT if len(_bare(text, start + len(name) + 1)) >= _QUERY_SHORTEST else Secrecy.NONE
    if name.lower() in _SECOND:
        before = _BEFORE.search(text, max(start - _BEFORE_LONGEST, 0), start)
        if before:
            return names.secrecy(f"{before[1]}_{name}")
    return Secrecy.NONE


def _is_separated(text: str, start: int, name: str, separator: str | None) -> bool:
    """Return whether what stands behind a name separates it from a value."""
    match separator:
        case None:
            return _is_option(name)
        case ">":
            opened = text.rfind("<", max(start - _TAG_LONGEST, 0), start)
            return opened >= 0 and text[start - 1] in "<:" and text[opened + 1] != "/"
        case "," if _is_option(name):
            return text[start - 1 : start] in _QUOTES
        case ",":
            before = max(start - _PAIR_LONGEST, 0)
            if _PAIR.search(text, before, start):
                return True
            return _PAIR_ALONE.match(text, start + len(name)) is not None and text[before:start][
                :-1
            ].endswith("(")
    return True


def _is_option(name: str) -> bool:
    """Return whether a name is that of an option; one of one letter is looked for behind its program."""
    return name.startswith("-") and len(name) >= _OPTION_SHORTEST


def _escaped(text: str, start: int, name: str) -> int:
    """Return how much of what looks like a name ends an escape: of a line break, or ``%3F`` in a query."""
    before = text[start - 1 : start]
    if before == "\\":
        return 1 if name[0] in "nrt" else 0
    return 2 if before == "%" and _HEX.match(name) else 0


def _bare(text: str, start: int) -> str:
    bare = _BARE.match(text, start)
    return bare[0] if bare else ""


class _Value(NamedTuple):
    """Reads the value behind a secret name.

    Attributes:
        is_code: a line of Python, see ``find_key_values``.
        is_prose: what follows may be a sentence.
    """

    text: str
    name: str
    secrecy: Secrecy
    is_code: bool
    is_prose: bool

    def read_behind(self, separator: str | None, name_at: int, at: int) -> _Place | None:
        """Return where the value is that follows the name at ``name_at`` and what separates the two.

        Sign-ins and cookies go on to the end of their line, and contents of XML to the end of the element.
        """
        if separator == ">":
            return self.content(at)
        if separator is None and self.text.startswith("-", at):
            return None  # the next option
        if self.is_code or separator == "," or _MARKED.match(self.text, at):
            return self.read(at)
        last = (split(self.name) or [""])[-1]
        is_cookie = last.startswith("cookie")
        is_phrase = separator == ":" and last in _PHRASES
        if not (is_cookie or is_phrase or last.startswith("authori")) or self._opens(at):
            return self.read(at)
        return self._header(name_at, at, is_cookie=is_cookie, is_field=is_phrase or separator == "=")

    def read(self, at: int) -> _Place | None:
        """Return where the value is that begins at ``at``; None where there is none."""
        tag = _TAG.match(self.text, at)
        at = tag.end() if tag else at
        marked = _MARKED.match(self.text, at)
        if marked:
            return at, marked.end(), False
        escaped = _ESCAPED.match(self.text, at)
        if escaped:
            end = _escaped_end(self.text, escaped.end(), len(escaped[1]), escaped[2])
            return escaped.end(), end, not is_placeholder(self.text[escaped.end() : end])
        place = self._quoted(at) or (self._odd(at) if self.text[at : at + 1] in _ODD else None)
        if place:
            return place
        if self.text[at : at + 1] in _OPENS:
            return self._bracketed(at, at)
        return self._bare(at)

    def _opens(self, at: int) -> bool:
        """Return whether a value is in quotes or brackets, or on the next line."""
        first = self.text[at : at + 1]
        return first in _OPENS or first in _LINE_ENDS or _OPENING.match(self.text, at) is not None

    def _header(self, name_at: int, at: int, *, is_cookie: bool, is_field: bool) -> _Place | None:
        """Return a value that ends with its line, or with the quote that opens before its name."""
        # What is read to the end of the line is a secret to that end: so nothing is read twice.
        scheme = None if is_cookie else _SCHEME.match(self.text, at)
        if scheme and _MARKED.match(self.text, scheme.end()):
            return at, scheme.end(), False
        first = _FIRST.match(self.text, at)
        if (
            not first
            or self._is_prose_word(first[0])
            or self._is_sentence(at)
            or _PLACEHOLDER.match(self.text, at)
        ):
            return at, first.end() if first else at, False
        if is_cookie and "=" not in first[0]:
            return (at, at, False) if first[0].endswith(":") else self._bare(at)
        end = self._line_end(name_at, at, _FIELDS if is_field and not is_cookie else _LINE)
        value = self.text[at:end].rstrip()
        start = scheme.end() if scheme and scheme.end() < at + len(value) else at
        return start, at + len(value), not self._is_placeholder(value)

    def _line_end(self, name_at: int, at: int, lines: re.Pattern[str]) -> int:
        opened = _OPENED.search(self.text, max(name_at - _PAIR_LONGEST, 0), name_at)
        if opened and opened[1]:
            return _escaped_end(self.text, at, len(opened[1]), opened[2])
        if opened:
            inside = (_IN_DOUBLE if opened[2] == '"' else _IN_SINGLE).match(self.text, at)
            return inside.end() if inside else at
        line = lines.match(self.text, at)
        return line.end() if line else at

    def content(self, at: int) -> _Place | None:
        """Return the content of an element of XML; without an end tag what stands behind the tag itself."""
        content = _CONTENT.match(self.text, at)
        if content:
            start, end = content.span(content.lastindex or 0)
            return start, end, not self._is_placeholder(self.text[start:end].strip())
        return self.read(at) if self.text[at - 1 : at] == ">" else None

    def _quoted(self, at: int) -> _Place | None:
        quoted = _QUOTED.match(self.text, at)
        if not quoted:
            return None
        start, end = quoted.span(quoted.lastindex or 0)
        while more := _CONTINUED.match(self.text, end) or self._inner(start, end):
            end = more.end() - 1
        return start, end, not is_placeholder(self.text[start:end])

    def _inner(self, start: int, end: int) -> re.Match[str] | None:
        """Return what goes on behind a quote that closes nothing, since it belongs to the value itself."""
        text, quote = self.text, self.text[end : end + 1]
        if start == end or quote not in _QUOTES:
            return None
        is_escaped = text.endswith("\\\\", start, end) and not _CLOSES.match(text, end + 1)
        if not is_escaped and not _GOES_ON.match(text, end):
            return None
        return (_REST_DOUBLE if quote == '"' else _REST_SINGLE).match(text, end)

    def form_field(self, at: int) -> _Place | None:
        """Return the value of a part of a form, which ends before the next boundary."""
        field = _FORM_VALUE.match(self.text, at)
        return (*field.span(), not is_placeholder(field[0])) if field else None

    def _odd(self, at: int) -> _Place | None:
        """Return a value whose quotes are escaped for a query, or one on the lines that follow."""
        # Right behind an equals sign they are part of the value itself, which a query ends.
        percent = None if self.text.startswith("=", at - 1) else _PERCENT.match(self.text, at)
        if percent:
            return *percent.span(1), not is_placeholder(percent[1])
        if not self.is_prose or self.is_code:
            return None
        block = _BLOCK.match(self.text, at)
        if block:
            return *block.span(2), not is_placeholder(block[2])
        line = _NEXT_LINE.match(self.text, at)
        return self.read(line.end()) if line else None

    def _bracketed(self, start: int, bracket: int) -> _Place:
        if _SCHEMA.match(self.text, bracket):
            return start, bracket + 1, False
        end = _closing(self.text, bracket)
        inside = self.text[bracket:end]
        more = _BARE.match(self.text, end)
        if more and not is_mark(inside):  # a password may begin with a bracket
            end = more.end()
        if self.is_code:
            return start, end, '"' in inside or "'" in inside
        is_secret = not is_placeholder(self.text[bracket:end])
        return start, end, is_secret

    def _bare(self, at: int) -> _Place | None:
        text = self.text
        placeholder = _PLACEHOLDER.match(text, at)
        if placeholder:
            return at, placeholder.end(), False
        scheme = (_SCHEME if self.name.lower().endswith("auth") else _BEARER).match(text, at)
        at = scheme.end() if scheme else at
        bare = MARKED.match(text, at) or _BARE.match(text, at)
        if not bare or is_mark(bare[0]):
            return (at, bare.end(), False) if bare else None
        value, end = bare[0], bare.end()
        if value.endswith("("):  # SecretStr("..."); of a method that is called the brackets are looked at
            is_method = "." in value and value[:-1].replace(".", "").isidentifier()
            return (at, end, False) if is_method else self._bracketed(at, end - 1)
        if self.is_code:
            annotated = _ANNOTATED.match(text, end)
            return self.read(annotated.end()) if annotated else (at, end, value.strip(",)").isdigit())
        is_prose = scheme is None and (self._is_prose_word(value) or self._is_sentence(at))
        return at, end, not (is_prose or self._is_placeholder(value))

    def _is_prose_word(self, value: str) -> bool:
        return self.is_prose and value.lower().rstrip(".:,") in _PROSE

    def _is_sentence(self, at: int) -> bool:
        """Return whether words follow that say something of a key or token; of a password they may be it."""
        return self.is_prose and self.secrecy is Secrecy.TEXT and _SENTENCE.match(self.text, at) is not None

    def _is_placeholder(self, value: str) -> bool:
        if is_placeholder(value) or _repeats_name(value, self.name):
            return True
        if self.name.startswith("-") and value.isupper() and value.rstrip("]>").isalpha():
            return True  # how a usage names it
        if self.secrecy is Secrecy.TEXT:
            return len(value) <= _SMALL_DIGITS and value.isdigit()
        return self.name in ("PWD", "OLDPWD") and value.startswith("/")


#: How the value behind an expression is read, other than by ``read``.
_READ: Final[dict[re.Pattern[str], Callable[[_Value, int], _Place | None]]] = {
    _PART: _Value.form_field,
    _ELEMENT: _Value.content,
    _NAMED_ELEMENT: _Value.content,
}


def _escaped_end(text: str, start: int, backslashes: int, quote: str) -> int:
    """Return where the text ends that begins at ``start`` behind a quote with this number of backslashes.

    Each level of JSON doubles the backslashes and adds one: 1, 3, 7. Those of the text itself stand
    before the closing quote's own in multiples of what the next level would have.
    """
    for closing in _QUOTE.finditer(text, start):
        if closing[2] == quote and len(closing[1]) % (2 * (backslashes + 1)) == backslashes:
            return closing.end(1) - backslashes
    return len(text)


def is_placeholder(text: str) -> bool:
    """Return whether a text says that there is no secret, or stands for one."""
    return (
        not text
        or is_mark(text)
        or text.lower() in _NO_VALUES
        or _PLACEHOLDER.fullmatch(text) is not None
        or not any(map(str.isalnum, text[:64]))
    )


def _repeats_name(value: str, name: str) -> bool:
    """Return whether code is quoted that passes a secret on: ``password=self.password``, ``:password_1``."""
    own = name.rpartition(".")[2]
    if value.startswith(":"):
        return value[1:].partition("::")[0].rstrip("0123456789").rstrip("_") in (own, "param")
    return value.rpartition(".")[2] == own and value.replace(".", "_").isidentifier()


def _closing(text: str, start: int) -> int:
    """Return where the bracket that opens at ``start`` is closed; the end of the text if nowhere."""
    depth = 0
    for bracket in _BRACKETS.finditer(text, start):
        depth += 1 if bracket[0] in _OPENS else -1
        if depth <= 0:
            return bracket.end()
    return len(text)
