"""Replaces secrets in keys, messages, arguments, tracebacks and URLs, before anything is sent or cut.

Most texts hold no secret, and ``cannot_hold_secret`` shows that at a fraction of the cost of a search. Only
the others are searched. Nothing is changed in place: what the application logged stays as it is for other
handlers. If a search fails, the mark replaces the whole text.
"""

import logging
import os
import re
import secrets
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from dataclasses import asdict, fields, replace
from enum import StrEnum
from functools import lru_cache
from hashlib import blake2b
from typing import Final

from hublog.internal_log import report
from hublog.redaction.card_numbers import CARD_SHORTEST, find_cards, is_card, may_hold_card
from hublog.redaction.command_lines import find_in_arguments, find_in_commands, may_hold_command
from hublog.redaction.key_values import find_key_values, is_placeholder, secrecy_of_path
from hublog.redaction.secret_names import Secrecy, SecretNames
from hublog.redaction.statements import find_in_statements
from hublog.redaction.text_ranges import (
    MARK,
    Span,
    ends,
    head,
    is_mark,
    merged,
    replaced,
    without_colors,
    without_escapes,
)
from hublog.redaction.token_patterns import (
    find_sign_ins,
    find_tokens,
    holds_lead,
    may_hold_sign_in,
    may_hold_token,
)
from hublog.settings import Mask, PersonalData, RedactionSettings, read_settings
from hublog.settings.user_patterns import finder_of, problem_of

#: A text that is shorter holds a secret only behind ``=`` or ``:``, as in ``cvv=123``.
SHORTEST: Final = 8
#: Lengths of the ids of spans, of traces and requests, and of UUIDs, which are the most usual of values.
_ID_LENGTHS: Final = frozenset({16, 32, 36})
_UUID_LENGTH: Final = 36
_HEX_DIGITS: Final = "0123456789abcdef"
_OF_UUID: Final = "-0123456789abcdef"
#: The least number that is read as the number of a card.
CARD_FROM: Final = 10**12
#: A number whose name ends so is an id, a time or a size, and no card.
_NO_CARDS: Final = (
    "id", "ids", "at", "ns", "us", "ms", "ts", "time", "timestamp", "bytes", "size", "offset", "sequence",
)  # fmt: skip
#: A smaller number under the name of a token counts something.
_COUNTS_BELOW: Final = 10_000
_HASH_BYTES: Final = 8
#: Characters that are shown of a line of source.
_SOURCE_LONGEST: Final = 2_048
#: Lines of source that are remembered with what is shown of them.
_SOURCES_MAX: Final = 512
#: Number and length of the short texts without a secret that are remembered.
_KNOWN_MAX: Final = 4_096
_KNOWN_LONGEST: Final = 64
_CONVERSION: Final = re.compile(
    r"%(?:\([^()]{0,64}+\))?[-#0 +]{0,5}+[0-9*]{0,5}+(?:\.[0-9*]{1,5}+)?[hlL]?[a-zA-Z%]"
)
#: A string in a line of Python from its opening quote on, or a comment; what goes on further ends here.
_LITERAL: Final = re.compile(r""""(?:[^"\\]++|\\.)*+|'(?:[^'\\]++|\\.)*+|#.*+""")
_DIGIT: Final = re.compile(r"[0-9]")
_NAMED: Final = ("name", "key", "Name", "Key")
_VALUES: Final = frozenset({"value", "Value"})
#: The columns that identify a person, and the name that the sign-in of App Service gives.
PERSONAL_COLUMNS: Final = frozenset({"client_ip", "user_id", "user_name", "http_query", "session_id"})
#: The column whose text is a query, which begins with no ``?``.
_QUERY: Final = "http_query"
_HASH_KEY: Final = "hash_key"
#: Names below which others write secrets for us: an item of ``LOGGING`` is one.
_CONNECTION: Final = "connection_string"
_HASH_KEY_ID: Final = "hash_key_id"
_FIELDS: Final = frozenset(field.name for field in fields(RedactionSettings))
_SALT: Final = os.urandom(32)
#: Keys of this process by their ids, so that plain data need not hold them.
_keys: dict[str, str] = {}


class Redactor:
    """Replaces secrets in texts and values; any thread may call it.

    Args:
        redaction: what is secret besides the built-in rules, and what replaces it.
    """

    def __init__(self, redaction: RedactionSettings) -> None:
        self.is_on = redaction.enabled
        self._names = SecretNames(redaction.keys)
        #: Whether texts of any length are looked at.
        self.checks_short_texts = self.is_on and bool(redaction.patterns)
        self._patterns = tuple(find for one in redaction.patterns if (find := finder_of(one)))
        self._key = _key(redaction.hash_key)
        self._is_hashing = redaction.mode is Mask.HASH and bool(redaction.hash_key)
        self._personal = redaction.personal_data
        self._source = lru_cache(_SOURCES_MAX)(self._redact_source)
        self._safe_length = lru_cache(_SOURCES_MAX)(self.safe_length)
        self._known: set[str] = set()
        #: Whether a text is known to hold no secret; it need not be, and ``text`` knows it, too.
        self.is_known = self._known.__contains__
        #: Columns that are judged by their value alone.
        self._open: set[str] = set()

    def text(self, text: str) -> str:
        """Return a text without its secrets: itself where it holds none."""
        if not self.is_on:
            return text
        try:
            is_short = type(text) is str and len(text) <= _KNOWN_LONGEST
            if is_short and (text in self._known or self._is_id(text)):
                return text
            if self.cannot_hold_secret(text):
                if is_short:
                    self._remember(text)
                return text
            spans = list(self.find(text))
            return replaced(text, spans, self._mark) if spans else text
        except Exception:  # noqa: BLE001  # never the secret
            return MARK

    def _remember(self, text: str) -> None:
        """Remember that a text holds no secret: names, states and paths are logged again and again."""
        if len(self._known) >= _KNOWN_MAX:
            self._known.clear()
        self._known.add(text)

    def cannot_hold_secret(self, text: str) -> bool:
        """Return whether a text lacks the parts of which each secret has one; a tenth of a search's cost."""
        return self._is_id(text) or not (
            self._names.may_occur_in(text)
            or (("@" in text or "%" in text) and may_hold_sign_in(text))
            or ("-" in text and may_hold_command(text))
            or may_hold_token(text, data := text.encode("utf-8", "surrogatepass"))
            or may_hold_card(text, data)
            or self._patterns
        )

    def _is_id(self, text: str) -> bool:
        """Return whether a text is the id of a trace, span or request, or a UUID; a card has digits alone."""
        length = len(text)
        if length not in _ID_LENGTHS or self.checks_short_texts:
            return False
        if length == _UUID_LENGTH:
            return text[8] == "-" and not text.strip(_OF_UUID)
        return not (text.strip(_HEX_DIGITS) or text.isdigit())

    def bounded(self, text: str, longest: int, limit: int) -> str:
        """Return a text without its secrets; one of more than ``longest`` characters loses its middle.

        What is long is looked at where something stays, and as far beyond as a secret may reach, so that
        none is cut in two and the time does not grow with the text.

        Args:
            text: any text.
            longest: characters up to which it is kept whole.
            limit: characters that are kept of a longer one.
        """
        if len(text) <= longest:
            return self.text(text)
        return self._cut(text, limit, ends)

    def head(self, text: str, limit: int) -> str:
        """Return the first ``limit`` characters of a text, without its secrets and without half of one."""
        return self._cut(text, limit, head)

    def source(self, line: str) -> str:
        """Return a line of Python without the secrets that are literals in it."""
        line = line[:_SOURCE_LONGEST]  # one of a generated file may be as long as the file
        return self._source(line) if self.is_on else line

    def secrecy(self, name: str) -> Secrecy:
        """Return how secret the value of a name is."""
        return self._names.secrecy(name) if self.is_on else Secrecy.NONE

    def column(self, name: str, value: object) -> object:
        """Return the value of a column without its secrets; None where it is to be left out.

        Of columns only those are secret by name that the user named: ``session_id`` is a hash already.
        """
        if name not in self._open and not self.is_open(name):
            return self._column_by_name(name, value)
        if type(value) is not str:
            return self.value(value)
        return value if value in self._known or not self._is_long(value) else self.text(value)

    def is_open(self, name: str) -> bool:
        """Whether a column is judged by its value alone, as one is whose name says nothing."""
        is_named = name == _QUERY or (name in PERSONAL_COLUMNS and self._personal is not PersonalData.KEEP)
        if name not in self._open and not (is_named or self.secrecy(name) is Secrecy.CONFIGURED):
            self._open.add(name)
        return name in self._open

    def is_id(self, name: str, value: str) -> bool:
        """Whether the text of a column is an id that holds no secret by its form."""
        return name in self._open and self._is_id(value)

    def _column_by_name(self, name: str, value: object) -> object:
        if name in PERSONAL_COLUMNS and self._personal is not PersonalData.KEEP and value not in (None, ""):
            return None if self._personal is PersonalData.DROP else self._hash(str(value))
        if not self.is_on:
            return value
        if self._names.secrecy(name) is Secrecy.CONFIGURED:
            return self.hidden(value, Secrecy.CONFIGURED)
        if name == _QUERY and type(value) is str:
            return self.text(f"?{value}")[1:]
        return self.value(value)

    def value(self, value: object, name: str = "") -> object:
        """Return plain data without its secrets: a new object wherever something changes.

        Args:
            value: what ``plain`` returned.
            name: the name it goes by.
        """
        if not self.is_on:
            return value
        try:
            secrecy = self._names.secrecy(name) if name else Secrecy.NONE
            return self._hide(value, secrecy) if secrecy else self._tree(value, name)
        except Exception:  # noqa: BLE001  # never the secret
            return MARK

    def hidden(self, value: object, secrecy: Secrecy) -> object:
        """Return what stands in place of plain data under a secret name."""
        try:
            return self._hide(value, secrecy)
        except Exception:  # noqa: BLE001  # never the secret
            return MARK

    def safe_length(self, template: str) -> int:
        """Return up to which length a rendered message without ``=`` and ``:`` cannot hold a secret.

        What a template adds to its arguments is known. If it holds nothing that a secret begins with, it
        takes arguments of some length to make one.

        Returns:
            A number of characters, 0 if each message has to be looked at.
        """
        if not self.is_on:
            return 1 << 62
        own = _CONVERSION.sub("", template)
        cannot_complete = not (
            self._patterns
            or any(one in own for one in ("=", ":", ">", "@", "--", "%", "://"))
            or holds_lead(own)
            or self._names.may_occur_in(f"{own}='")
        )
        return len(own) + CARD_SHORTEST - 1 - len(_DIGIT.findall(own)) if cannot_complete else 0

    def completes_none(self, template: str, message: str) -> bool:
        """Whether a rendered message cannot hold a secret by ``safe_length``; False if that is not known."""
        return (
            len(template) <= _SOURCE_LONGEST
            and len(message) <= self._safe_length(template)
            and not completes(message)
        )

    def find(self, text: str, *, is_code: bool = False) -> Iterator[Span]:
        """Find all secrets in a text; the spans may overlap and have no order."""
        plain = without_colors(text)
        for span in self._find_displayed(plain.text if plain else text, is_code=is_code):
            yield plain.in_original(span) if plain else span

    def _find_displayed(self, text: str, *, is_code: bool) -> Iterator[Span]:
        yield from self._find(text, is_code=is_code)
        decoded = without_escapes(text)
        if decoded:
            for span in self._find(decoded.text, is_code=is_code):
                yield decoded.in_original(span)

    def _find(self, text: str, *, is_code: bool) -> Iterator[Span]:
        if self._names.may_occur_in(text):
            yield from find_key_values(text, self._names, is_code=is_code)
            if not is_code:
                yield from find_in_statements(text, self._names)
        yield from _find_by_form(text)
        for find in self._patterns:
            yield from (Span(start, end, "pattern") for start, end in find(text))

    def _cut(self, text: str, limit: int, cut: Callable[..., str]) -> str:
        try:
            return cut(text, limit, self.find if self.is_on else lambda _: (), self._mark)
        except Exception:  # noqa: BLE001  # never the secret
            return MARK

    def _redact_source(self, line: str) -> str:
        try:
            spans = list(self.find(line, is_code=True))
            for literal in _LITERAL.finditer(line):
                start = literal.start() + 1
                spans += [
                    Span(start + span.start, start + span.end, span.kind)
                    for span in self.find(literal[0][1:])
                ]
            return replaced(line, spans, self._mark)
        except Exception:  # noqa: BLE001  # never the secret
            return MARK

    def _tree(self, value: object, name: str) -> object:
        if type(value) is str:
            is_other = value.isdigit() and name.lower().endswith(_NO_CARDS)
            return self.text(value) if not is_other and self._is_long(value) else value
        if type(value) is int:
            return self._number(value, name)
        if type(value) is dict:
            return self._mapping(value)
        if type(value) is list:
            return self._list(value)
        return value

    def _is_long(self, text: str) -> bool:
        """Return whether a text may be long enough to hold a secret."""
        return len(text) >= SHORTEST or "=" in text or ":" in text or self.checks_short_texts

    def _mapping(self, value: dict[str, object]) -> dict[str, object]:
        redacted: dict[str, object] = {}
        pair = self._pair_of(value)
        number = 1
        for key, item in value.items():
            secrecy = self._names.secrecy(key) or (pair if key in _VALUES else Secrecy.NONE)
            if key == "input" and type(item) not in (dict, list):
                secrecy = secrecy or self._of_path(value.get("loc"))
            shown = self.text(key) if self._is_long(key) else key
            unique = shown
            while unique in redacted:  # two keys that were secrets are two marks
                number += 1
                unique = f"{shown}_{number}"
            redacted[unique] = self._hide(item, secrecy) if secrecy else self._tree(item, key)
        return redacted

    def _pair_of(self, value: dict[str, object]) -> Secrecy:
        """Return how secret the value of an item is that says its name itself, as environments have them."""
        if _VALUES.isdisjoint(value):
            return Secrecy.NONE
        named = next((value[key] for key in _NAMED if key in value), None)
        return self._names.secrecy(named) if type(named) is str else Secrecy.NONE

    def _of_path(self, path: object) -> Secrecy:
        """Return how secret what pydantic says was given is, by the path of the field."""
        return secrecy_of_path(self._names, path) if type(path) is list else Secrecy.NONE

    def _list(self, value: list[object]) -> list[object]:
        redacted = [self._pair(item) if type(item) is list else self._tree(item, "") for item in value]
        return self._arguments(redacted) if any(map(_is_option, value)) else redacted

    def _arguments(self, value: list[object]) -> list[object]:
        """Redact the arguments of a program, in which the value of an option is an item of its own."""
        redacted = list(value)
        secrecy = Secrecy.NONE
        for place, item in enumerate(value):
            text = item if type(item) is str else ""
            if secrecy and not text.startswith("-"):
                redacted[place] = self._hide(item, secrecy)
            secrecy = self._names.secrecy(text) if _is_option(item) and "=" not in text else Secrecy.NONE
        hidden = find_in_arguments([item if type(item) is str else "" for item in redacted])
        for place, start in hidden.items():
            text = str(redacted[place])
            redacted[place] = text[:start] + self._mark(text[start:])
        return redacted

    def _pair(self, value: list[object]) -> list[object]:
        """Redact a list in a list; one of a name and its value, as headers are, is an item of a mapping."""
        match value:
            case [str() as name, item] if secrecy := self._names.secrecy(name):
                return [name, self._hide(item, secrecy)]
        return self._list(value)

    def _number(self, value: int, name: str) -> object:
        if value < CARD_FROM or not is_card(str(value)) or name.lower().endswith(_NO_CARDS):
            return value
        return self._mark(str(value))

    def _hide(self, value: object, secrecy: Secrecy) -> object:
        if value is None or (type(value) is bool and secrecy is not Secrecy.CONFIGURED):
            return value
        if type(value) is dict:
            return {key: self._hide(item, secrecy) for key, item in value.items()}
        if type(value) is list:
            return [self._hide(item, secrecy) for item in value]
        is_small = isinstance(value, float) or (isinstance(value, int) and abs(value) < _COUNTS_BELOW)
        if secrecy is Secrecy.TEXT and is_small:
            return value
        text = str(value)
        if secrecy is not Secrecy.CONFIGURED and is_placeholder(text):
            return value
        return text if is_mark(text) else self._mark(text)

    def _mark(self, secret: str) -> str:
        return f"[redacted:{self._hash(secret)}]" if self._is_hashing else MARK

    def _hash(self, text: str) -> str:
        return blake2b(
            text.encode("utf-8", "surrogatepass"), key=self._key, digest_size=_HASH_BYTES
        ).hexdigest()


@lru_cache(maxsize=64)
def redactor_for(redaction: RedactionSettings) -> Redactor:
    """Return the redactor for these settings, shared by all formatters; reports their problems once."""
    problems = [
        f"The pattern {pattern!r} of LOG_REDACTION_PATTERNS {problem}; it is left out."
        for pattern in redaction.patterns
        if (problem := problem_of(pattern))
    ]
    if not redaction.hash_key:
        if redaction.enabled and redaction.mode is Mask.HASH:
            problems.append(
                "LOG_REDACTION_MODE is 'hash' without LOG_REDACTION_HASH_KEY; secrets are masked."
            )
        if redaction.personal_data is PersonalData.HASH:
            problems.append(
                "LOG_PERSONAL_DATA is 'hash' without LOG_REDACTION_HASH_KEY; a key drawn at random serves,"
                " and its hashes are known again in this process and its children only."
            )
    if problems:
        report(logging.WARNING, " ".join(problems))
    return Redactor(redaction)


def as_plain(redaction: RedactionSettings) -> dict[str, object]:
    """Return settings as plain data without the key, by which this process finds it again."""
    plain = {name: _plain(value) for name, value in asdict(redaction).items()}
    if plain.pop(_HASH_KEY):
        key = redaction.hash_key.encode("utf-8", "surrogatepass")
        key_id = blake2b(key, key=_SALT, digest_size=_HASH_BYTES).hexdigest()
        _keys[key_id] = redaction.hash_key
        plain[_HASH_KEY_ID] = key_id
    return plain


def _plain(value: object) -> object:
    if isinstance(value, StrEnum):
        return value.value
    return list(value) if isinstance(value, tuple) else value


def redaction_of(given: object, problems: list[str] | None = None) -> RedactionSettings:
    """Return the settings that the argument ``redaction`` of a formatter stands for.

    Args:
        given: settings; a mapping of their fields, in which a missing ``hash_key`` comes from the
            environment; None for what the environment says.
        problems: gets a sentence for each invalid field; None reports none.
    """
    if isinstance(given, RedactionSettings):
        return given
    if not isinstance(given, Mapping):
        if given is not None and problems is not None:
            problems.append(f"redaction is a {type(given).__name__}; it must be a mapping.")
        return read_settings().settings.redaction
    items = {str(name): given[name] for name in given}
    known = _keys.get(str(items.pop(_HASH_KEY_ID, "")), "")
    key = items.pop(_HASH_KEY, "") or known
    if problems is not None:
        problems += [
            f"redaction has {name!r}; it may have {', '.join(sorted(_FIELDS))}."
            for name in items
            if name not in _FIELDS
        ]
    key = str(key) or read_settings().settings.redaction.hash_key
    stated = {name: value for name, value in items.items() if name in _FIELDS}
    reading = read_settings({"redaction": {**stated, _HASH_KEY: key}}, environ={})
    if problems is not None:
        problems += reading.problems
    return replace(reading.settings.redaction, hash_key=key)


def find_secrets(text: str) -> list[str]:
    """Return what in a text looks like a secret, never the secret itself.

    Args:
        text: any text; a row as JSON is fine, and our own marks are no secrets.

    Returns:
        One entry for each: what it is and where, like ``value of password at 12-19`` (characters, from 0).
    """
    return [f"{span.kind} at {span.start}-{span.end}" for span in merged(DEFAULT.find(text))]


def completes(message: str) -> bool:
    """Whether something in a message makes a secret of what stands around it, however short that is."""
    if "-" in message and (
        " -" in message or "'-" in message or '"-' in message
    ):  # an option, also in a list
        return True
    return "=" in message or ":" in message or ">" in message


def _is_option(value: object) -> bool:
    return type(value) is str and value.startswith("-")


def _find_by_form(text: str) -> Iterator[Span]:
    if may_hold_sign_in(text):
        yield from find_sign_ins(text)
    if may_hold_command(text):
        yield from find_in_commands(text)
    data = text.encode("utf-8", "surrogatepass")
    if may_hold_token(text, data):
        yield from find_tokens(text)
    if may_hold_card(text, data):
        yield from find_cards(text)


def _key(hash_key: str) -> bytes:
    """Return a key of the length that BLAKE2 takes; one drawn at random where none is set."""
    return (
        blake2b(hash_key.encode("utf-8", "surrogatepass")).digest() if hash_key else secrets.token_bytes(32)
    )


#: Masks what is secret by a built-in rule.
DEFAULT: Final = redactor_for(RedactionSettings())


class HiddenText(str):
    """A text whose ``repr`` has marks in place of its secrets; pages and dumps of settings show that."""

    __slots__ = ()

    def __repr__(self) -> str:
        """Return the ``repr`` of the text without its secrets."""
        return repr(DEFAULT.text(str.__str__(self)))


def hidden(value: object) -> object:
    """Return a text with secrets as one that does not show them, anything else as it is."""
    is_secret = type(value) is str and DEFAULT.text(value) != value
    return HiddenText(value) if is_secret else value


def hide_handlers(logging_config: object) -> None:
    """Hide the connection strings of handlers in a configuration for ``dictConfig``, in place."""
    handlers = logging_config.get("handlers") if isinstance(logging_config, Mapping) else None
    for handler in handlers.values() if isinstance(handlers, Mapping) else ():
        if isinstance(handler, MutableMapping) and _CONNECTION in handler:
            handler[_CONNECTION] = hidden(handler[_CONNECTION])
