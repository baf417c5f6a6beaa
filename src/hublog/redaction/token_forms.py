"""Secrets that are known by their form: signed and bearer tokens, private keys, webhooks, sign-ins in URLs.

Each expression takes time in proportion to the text: what follows a repeat without an end is optional,
and whether it is a secret is decided afterwards, so that nothing is read twice.
"""

import base64
import binascii
import re
from collections.abc import Iterator
from functools import cache
from typing import Final, NamedTuple

from hublog.redaction.text_ranges import Span, is_in_word, is_mark


class _Token(NamedTuple):
    """A secret that begins with one text and goes on in one form.

    Attributes:
        lead: what the expression begins with.
        rest: what follows.
        before: characters before the lead that belong to the secret as well; the expression demands them.
    """

    kind: str
    lead: str
    rest: str
    before: int = 0


_TOKENS: Final = (
    _Token("Slack webhook", "hooks.slack.com/", r"(?:services|workflows|triggers)/[A-Za-z0-9/_-]{10,}+"),
    _Token("Telegram token", "api.telegram.org/", r"(?:file/)?bot[0-9]{5,12}:[A-Za-z0-9_-]{30,}+"),
    _Token("Discord webhook", "api/webhooks/", r"[0-9]{10,24}/[A-Za-z0-9_-]{40,}+"),
    _Token("Teams webhook", "webhook.office.com/", r"webhookb2/[A-Za-z0-9@/-]{20,}+"),
    _Token("Azure client secret", "Q~", r"(?<=[A-Za-z0-9_~.-]{3}[0-9]Q~)[A-Za-z0-9_~.-]{31,34}", 4),
    _Token("Azure key", "+A", r"(?<=[A-Za-z0-9+/]{33}\+A)(?:Eh|Sb|Io|Rm)[A-Za-z0-9+/]{5,6}=", 33),
    _Token("Azure key", "+ASt", r"(?<=[A-Za-z0-9+/]{76}\+ASt)[A-Za-z0-9+/]{5}[AQgw]==", 76),
    _Token("JSON web token", "eyJ", r"[A-Za-z0-9_-]*+(?:\.[A-Za-z0-9_-]*+)*+"),
    _Token("private key", "-----BEGIN", r"[A-Z0-9 ]{1,40}PRIVATE KEY(?: BLOCK)?-----"),
    _Token("bearer token", "earer", r"(?<=[Bb]earer)(?:[ \t+]|%20)[ \t]{0,3}+[A-Za-z0-9._~+/=-]++", 1),
    _Token("bearer token", "EARER", r"(?<=BEARER)(?:[ \t+]|%20)[ \t]{0,3}+[A-Za-z0-9._~+/=-]++", 1),
    _Token("basic sign-in", "asic", r"(?<=[Bb]asic)(?:[ \t+]|%20)[ \t]{0,3}+[A-Za-z0-9+/_-]++={0,2}+", 1),
)
#: What a private key ends with.
KEY_END: Final = re.compile(r"-----END[A-Z0-9 ]{1,40}PRIVATE KEY(?: BLOCK)?-----")
_SCHEME_END: Final = re.compile(r"(?:[ \t+]|%20)++")
_SCHEMES: Final = frozenset({"bearer token", "basic sign-in"})
_URL: Final = re.compile(r"://[^\s\"'<>`]*+")
#: One that is itself the value of a query.
_ESCAPED_URL: Final = re.compile(r"%3[Aa]%2[Ff]%2[Ff][^%\s]{0,128}+%3[Aa]((?:[^%\s\"'&]|%(?!40|2[Ff]))++)%40")
_PORT: Final = re.compile(r"[0-9]{1,5}(?:[/?#]|$)")
#: What stands before a question mark that is part of a password: a user, and no port.
_ODD_PASSWORD: Final = re.compile(r"[^/\[\]@#:]{0,128}:(?![0-9]{0,5}\Z)[^/#]*+")
_USER: Final = re.compile(r"[^/\[\]@#]{0,128}")
#: A user name that is longer is no name: services take tokens there.
_USER_LONGEST: Final = 24
#: Parts of an encrypted token, whose second one is no JSON. Source: RFC 7516, section 3.
_ENCRYPTED_PARTS: Final = 5
_SIGNED_PARTS: Final = 3
#: SHA-1 in base64, as itsdangerous signs.
_SIGNATURE_SHORTEST: Final = 27
#: Letters alone that follow "Bearer" are a word of a sentence, unless there are so many.
_WORD_LONGEST: Final = 24
_BEARER_SHORTEST: Final = 8


def may_hold_shape(text: str) -> bool:
    """Return whether ``find_shapes`` could find what has no long run of letters and digits."""
    return (
        "earer" in text
        or "asic" in text
        or "Q~" in text
        or "+A" in text
        or "-----BEGIN" in text
        or "EARER" in text
    )


def may_hold_long_shape(text: str) -> bool:
    """Return whether ``find_shapes`` could find what has a long run of letters and digits, see ``tokens``."""
    return "hook" in text or "telegram" in text or (not text.islower() and "eyJ" in text)


def holds_form(text: str) -> bool:
    """Return whether anything stands in a text that a secret of this kind could begin with."""
    return any(token.lead in text for token in _TOKENS)


def find_shapes(text: str) -> Iterator[Span]:
    """Find tokens and keys by their form."""
    for token in _TOKENS:
        if token.lead in text:
            yield from _find(text, token)


@cache
def _expression(token: _Token) -> re.Pattern[str]:
    """Return the expression of a token: compiled when first needed, since all of them take milliseconds."""
    return re.compile(re.escape(token.lead) + token.rest)


def _find(text: str, token: _Token) -> Iterator[Span]:
    at, expression = 0, _expression(token)
    while found := expression.search(text, at):
        start, at = found.start() - token.before, found.end()
        if token.kind == "private key":
            end = KEY_END.search(text, at)
            at = end.end() if end else len(text)
        if is_in_word(text, start):
            continue
        if token.kind in _SCHEMES:
            scheme = _SCHEME_END.search(text, start, at)
            start = scheme.end() if scheme else start
        if _is_secret(token.kind, text[start:at]):
            yield Span(start, at, token.kind)


def _is_secret(kind: str, secret: str) -> bool:
    if kind == "JSON web token":
        parts = secret.split(".")
        if len(parts) == _SIGNED_PARTS and len(parts[-1]) >= _SIGNATURE_SHORTEST:
            return True  # also a session of Flask, whose second part is a time
        return len(parts) > 1 and (parts[1].startswith("eyJ") or len(parts) == _ENCRYPTED_PARTS)
    if kind == "bearer token":
        return len(secret) >= _BEARER_SHORTEST and (not secret.isalpha() or len(secret) > _WORD_LONGEST)
    if kind == "basic sign-in":
        return _holds_a_sign_in(secret)
    return True


def _holds_a_sign_in(secret: str) -> bool:
    """Return whether base64 holds ``user:password``."""
    text = secret[:1024].rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return b":" in base64.b64decode(text[: len(text) // 4 * 4] + _padded(text[len(text) // 4 * 4 :]))
    except (binascii.Error, ValueError):
        return False


def _padded(rest: str) -> str:
    return rest + "=" * (-len(rest) % 4) if len(rest) > 1 else ""


def may_hold_sign_in(text: str) -> bool:
    """Return whether ``find_sign_ins`` could find anything."""
    return ("@" in text and "://" in text) or "%40" in text


def find_sign_ins(text: str) -> Iterator[Span]:
    """Find passwords before the host of a URL, nested ones as well."""
    for escaped in _ESCAPED_URL.finditer(text):
        if not is_mark(escaped[1]):
            yield Span(*escaped.span(1), "password in URL")
    for url in _URL.finditer(text):
        at = url.start()
        while at >= 0:
            following = text.find("://", at + 3, url.end())
            span = _sign_in(text, at + 3, following if following >= 0 else url.end())
            if span:
                yield span
            at = following


def _sign_in(text: str, start: int, end: int) -> Span | None:
    """Return the password or token between ``://`` and ``@``."""
    whole = text[start:end]
    rest = whole.partition("?")[0]
    if "@" not in rest:
        if "@" not in whole or not _ODD_PASSWORD.fullmatch(rest):
            return None
        rest = whole[: whole.index("@") + 1]
    authority = re.split(r"[/#]", rest, maxsplit=1)[0]
    user, colon, after = rest.partition(":")
    if colon and _USER.fullmatch(user) and not _PORT.match(after):
        authority = rest  # a password may have a slash or another @ in it, unescaped
    if "@" not in authority:
        return None
    sign_in = authority[: authority.rindex("@")]
    if is_mark(sign_in):
        return None
    user, colon, password = sign_in.partition(":")
    if not colon:
        return Span(start, start + len(user), "token in URL") if len(user) > _USER_LONGEST else None
    if not password or is_mark(password):
        return None
    return Span(start + len(user) + 1, start + len(sign_in), "password in URL")
