"""Redaction as a formatter gets it: settings, plain data for ``dictConfig``, or what the environment says."""

import os
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from enum import StrEnum
from hashlib import blake2b
from typing import Final

from hublog.settings import RedactionSettings, read_settings

_KEY: Final = "hash_key"
_ID: Final = "hash_key_id"
_FIELDS: Final = frozenset(field.name for field in fields(RedactionSettings))
_SALT: Final = os.urandom(32)
#: Keys of this process by their ids, so that plain data need not hold them.
_keys: dict[str, str] = {}


def as_plain(redaction: RedactionSettings) -> dict[str, object]:
    """Return settings as plain data without the key, by which this process finds it again."""
    plain = {name: _plain(value) for name, value in asdict(redaction).items()}
    if plain.pop(_KEY):
        found = blake2b(
            redaction.hash_key.encode("utf-8", "surrogatepass"), key=_SALT, digest_size=8
        ).hexdigest()
        _keys[found] = redaction.hash_key
        plain[_ID] = found
    return plain


def _plain(value: object) -> object:
    if isinstance(value, StrEnum):
        return value.value
    return list(value) if isinstance(value, tuple) else value


def redaction_of(given: object, problems: list[str] | None = None) -> RedactionSettings:
    """Return what is meant.

    Args:
        given: settings; a mapping of their fields, in which a missing ``hash_key`` comes from the
            environment; None for what the environment says.
        problems: gets a sentence for each invalid field; None tells nobody.
    """
    if isinstance(given, RedactionSettings):
        return given
    if not isinstance(given, Mapping):
        if given is not None and problems is not None:
            problems.append(f"redaction is a {type(given).__name__}; it must be a mapping.")
        return read_settings().settings.redaction
    items = {str(name): given[name] for name in given}
    known = _keys.get(str(items.pop(_ID, "")), "")
    key = items.pop(_KEY, "") or known
    if problems is not None:
        problems += [
            f"redaction has {name!r}; it may have {', '.join(sorted(_FIELDS))}."
            for name in items
            if name not in _FIELDS
        ]
    key = str(key) or read_settings().settings.redaction.hash_key
    stated = {name: value for name, value in items.items() if name in _FIELDS}
    reading = read_settings({"redaction": {**stated, _KEY: key}}, environ={})
    if problems is not None:
        problems += reading.problems
    return replace(reading.settings.redaction, hash_key=key)
