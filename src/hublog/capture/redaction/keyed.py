"""Secrets in a text that stand behind their name: ``password=...``, ``"token": "..."``, ``Cookie: ...``."""

import re
from collections.abc import Iterator
from typing import Final

from hublog.capture.redaction.names import Names, Secrecy, split, words
from hublog.capture.redaction.spans import MARK_START, Span

#: One of these stands in the lower-case form of every text that names a secret.
STEMS: Final = (
    "pass", "pwd", "secret", "token", "auth", "cookie", "key", "cred", "sig", "sas", "sess", "jwt", "otp",
    "cvv", "cvc", "csrf", "xsrf", "conn", "bearer", "dsn", "code", "sid",
)  # fmt: skip
#: A name, what closes it, and what stands between it and its value.
_NAMED: Final = re.compile(
    r"""(?<![\w.$-])([\w.$-]++)[\\"'\])]{0,6}+(?:[ \t]{0,8}+(=>|:=|==|=|:|%3[DdAa]|>)|(?=[ \t]))[ \t]{0,8}+"""
)
#: What may follow in quotes: plain, or with a backslash before each quote as JSON inside a text has it.
_QUOTED: Final = re.compile(
    r"""[bBuUrR]{0,2}+(?:"((?:[^"\\]++|\\.)*+)"|'((?:[^'\\]++|\\.)*+)'|(\\{1,7}["'])((?:(?!\3).)*+)|["'`]([^\n]*+))""",
    re.DOTALL,
)
#: Without quotes: to a blank, a quote, ``&`` or ``;``; a comma or bracket belongs to it inside a word only.
_BARE: Final = re.compile(
    r"""(?:[^\s"'`,;&)\]}<>\\]++|\\(?!["'])|[)\]}>](?=[A-Za-z0-9])|,(?![\s"']|\Z|[\w.-]{1,40}+["']?[=:]))++"""
)
_SCHEME: Final = re.compile(
    r"(Bearer|Basic|Negotiate|NTLM|Token|ApiKey|Api-Key|Key|SharedKey|DPoP|JWT)(?:[ ]{1,4}+|%20|\+)",
    re.IGNORECASE,
)
#: Sign-ins and cookies of more than one word: all up to the end of the line, or of the quote around them.
_LONG: Final = re.compile(
    r"(?:Digest|OAuth|Hawk|AWS4-HMAC-SHA256|SharedAccessSignature|HMAC)[ ][^\r\n]*+", re.IGNORECASE
)
_COOKIES: Final = re.compile(r"""[^\r\n"']++""")
_BEARER: Final = re.compile(r"(?:Bearer|Basic)(?:[ ]{1,4}+|%20|\+)", re.IGNORECASE)
_BRACKETS: Final = re.compile(r"[\[\](){}]")
_OPENS: Final = frozenset("[({")
_BEFORE: Final = re.compile(r"(\w+)[ -]\Z")
#: Names of two words with a blank between them end in one of these.
_SECOND: Final = words("key keys string id code codes")
_BEFORE_LONGEST: Final = 24
#: What stands where a secret would, and is none.
_NO_VALUES: Final = words(
    """
    true false none null nil undefined unset missing required invalid expired revoked empty yes no n/a unknown
    """
)
#: After ``name: `` these begin a sentence about the secret.
_PROSE: Final = words(
    """
    a an the this that it its is are was were be been must may might can cannot could should shall will would
    not no at to in on of for from by with without and or but if has have had does do did please your our must
    required missing invalid incorrect wrong expected unexpected too field fields value values header
    reset changed updated rejected accepted
    """
)
#: Conversions, fields and variables of templates; asterisks and the like; marks in angle brackets.
_PLACEHOLDER: Final = re.compile(
    r"%(?:\(\w{1,64}\))?[-#0 +]{0,3}[0-9*]{0,3}(?:\.[0-9]{1,3})?[sdrfiax]"
    r"|\{[^{}\s]{0,64}\}|\$(?:\{\w{1,64}\}|[A-Z_]{2,64})|[*•.xX]{3,}+|<[^<>]{0,200}>|[*]{1,2}"
)
_SMALL_DIGITS: Final = 4
#: ``code`` and ``key`` in a query are secret from this length on: sign-in codes are long, status codes short.
_QUERY_NAMES: Final = frozenset({"code", "key"})
_QUERY_SHORTEST: Final = 16


def find_keyed(text: str, names: Names) -> Iterator[Span]:
    """Find the values of secret names in a text."""
    at = 0
    while named := _NAMED.search(text, at):
        at = named.end()
        start = named.start(1)
        name = named[1]
        secrecy = _secrecy(text, start, name, named[2], names)
        if not secrecy:
            continue
        span = _value(text, at, name, secrecy, named[2])
        if span is not None:
            at = max(at, span[1])
            if span[2]:
                yield Span(span[0], span[1], f"value of {name[-32:]}")


def _secrecy(text: str, start: int, name: str, separator: str | None, names: Names) -> Secrecy:
    if separator is None:
        return names.secrecy(name) if name.startswith("--") else Secrecy.NONE
    if separator == ">" and text[start - 1 : start] not in ("<", ":"):
        return Secrecy.NONE
    found = names.secrecy(name)
    if found:
        return found
    if name in _QUERY_NAMES and text[start - 1 : start] in ("?", "&"):
        return Secrecy.TEXT if len(_bare(text, start + len(name) + 1)) >= _QUERY_SHORTEST else Secrecy.NONE
    if name.lower() in _SECOND:
        before = _BEFORE.search(text, max(start - _BEFORE_LONGEST, 0), start)
        if before:
            return names.secrecy(f"{before[1]}_{name}")
    return Secrecy.NONE


def _bare(text: str, start: int) -> str:
    found = _BARE.match(text, start)
    return found[0] if found else ""


def _value(
    text: str, at: int, name: str, secrecy: Secrecy, separator: str | None
) -> tuple[int, int, bool] | None:
    """Return where the value stands and whether it is secret; None where there is no value."""
    quoted = _QUOTED.match(text, at)
    if quoted:
        group = quoted.lastindex or 0
        start, end = quoted.span(group)
        return start, end, end > start and not is_no_value(text[start:end])
    if text[at : at + 1] in _OPENS and not text.startswith(MARK_START, at):
        end = _closing(text, at)
        return at, end, not is_no_value(text[at:end])
    last = (split(name) or [""])[-1]
    to_end = _COOKIES if last.startswith("cookie") else _LONG if last.startswith("authori") else None
    found = to_end.match(text, at) if to_end else None
    if found:
        return at, found.end(), not is_no_value(found[0].strip())
    return _bare_value(text, at, name, secrecy, separator)


def _bare_value(
    text: str, at: int, name: str, secrecy: Secrecy, separator: str | None
) -> tuple[int, int, bool] | None:
    placeholder = _PLACEHOLDER.match(text, at)
    if placeholder and not text[placeholder.end() : placeholder.end() + 1].isalnum():
        return at, placeholder.end(), False
    scheme = (_SCHEME if name.lower().endswith(("authorization", "auth")) else _BEARER).match(text, at)
    if scheme:
        at = scheme.end()
    found = _BARE.match(text, at)
    if not found:
        return None
    value, end = found[0], found.end()
    if value.endswith("("):  # SecretStr("...")
        return at, _closing(text, end - 1), True
    is_prose = separator == ":" and not scheme and value.lower().rstrip(".:,") in _PROSE
    is_directory = name in ("PWD", "OLDPWD") and value.startswith("/")
    is_none = (
        is_prose or is_directory or is_no_value(value) or _is_itself(value, name) or _counts(value, secrecy)
    )
    return at, end, not is_none


def is_no_value(text: str) -> bool:
    """Return whether a text says that there is no secret, or stands for one."""
    return (
        not text
        or text.startswith(MARK_START)
        or text.lower() in _NO_VALUES
        or _PLACEHOLDER.fullmatch(text) is not None
        or not any(map(str.isalnum, text[:64]))
    )


def _is_itself(value: str, name: str) -> bool:
    """Return whether code is quoted that passes a secret on: ``password=self.password``."""
    return value.rpartition(".")[2] == name.rpartition(".")[2] and value.replace(".", "_").isidentifier()


def _counts(value: str, secrecy: Secrecy) -> bool:
    return secrecy is Secrecy.TEXT and len(value) <= _SMALL_DIGITS and value.isdigit()


def _closing(text: str, start: int) -> int:
    """Return where the bracket that opens at ``start`` is closed; the end of the text if nowhere."""
    depth = 0
    for found in _BRACKETS.finditer(text, start):
        depth += 1 if found[0] in _OPENS else -1
        if depth <= 0:
            return found.end()
    return len(text)
