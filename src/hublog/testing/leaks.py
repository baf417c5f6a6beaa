"""Secrets in what reached the hub: where they stand, never what they are."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final
from urllib.parse import quote, quote_plus

from hublog.capture.scrubber import find_secrets
from hublog.testing.matching import Row, leaves

_MASK: Final = "***"
#: Where ``find_secrets`` found it; we look at parts of a row, so the numbers would mislead.
_PLACE: Final = re.compile(r" at \d+-\d+$")


class Secret:
    """A value that must not arrive, in the forms in which it may.

    Args:
        value: text or bytes.

    Raises:
        TypeError: it is neither.
        ValueError: it is empty.
    """

    def __init__(self, value: str | bytes) -> None:
        if not isinstance(value, str | bytes):
            raise TypeError(f"A secret is a {type(value).__name__}; it must be text or bytes.")
        text = value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value
        if not text:
            raise ValueError("A secret is empty; everything would hold it.")
        forms = [text, quote(text, safe=""), quote(text), quote_plus(text), repr(text)[1:-1]]
        forms += [json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]]
        #: The longest first, so that masking one leaves no rest of another.
        self._forms = sorted(set(forms), key=len, reverse=True)

    def is_in(self, text: str) -> bool:
        """Whether a text holds it."""
        return any(form in text for form in self._forms)

    def masked(self, text: str) -> str:
        """Return a text without it."""
        for form in self._forms:
            text = text.replace(form, _MASK)
        return text

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


def secrets_of(values: Iterable[str | bytes]) -> list[Secret]:
    """Return the secrets of these values.

    Raises:
        TypeError: one is neither text nor bytes.
        ValueError: one is empty.
    """
    return [Secret(value) for value in values]


def leaks(rows: Sequence[Row], secrets: Sequence[Secret], *, with_shapes: bool) -> list[str]:
    """Return a line for each secret found, with its row and column.

    Args:
        rows: what reached the hub.
        secrets: what must not.
        with_shapes: look for everything else, too, that redaction takes for a secret.
    """
    found: list[str] = []
    for number, row in enumerate(rows, start=1):
        whats = list(_in_row(row, secrets))
        if with_shapes:
            whats += _shapes(row)
        for what in dict.fromkeys(whats):
            line = f"row {number}, {_name(row)}: {what}"
            for secret in secrets:
                line = secret.masked(line)
            found.append(line)
    return found


def report_of(found: Sequence[str]) -> str:
    """Return the text of a failed check."""
    title = "A secret reached the Event Hub" + (f" in {len(found)} places:" if len(found) > 1 else ":")
    return "\n".join([title, *(f"  {line}" for line in found)])


def _in_row(row: Row, secrets: Sequence[Secret]) -> Iterator[str]:
    for path, text in leaves(row):
        for number, secret in enumerate(secrets, start=1):
            if secret.is_in(text):
                which = "the given value" if len(secrets) == 1 else f"given value {number}"
                yield f"{path} holds {which}"


def _shapes(value: Mapping[str, object], path: str = "") -> Iterator[str]:
    for key, item in value.items():
        where = f"{path}.{key}" if path else key
        if isinstance(item, Mapping):
            yield from _shapes(item, where)
            continue
        # A column's name is ours and says nothing: session_id holds a hash.
        texts = [json.dumps({key: item}, ensure_ascii=False)] if path else []
        texts += [item] if isinstance(item, str) else []
        for kind in [kind for text in texts for kind in find_secrets(text)]:
            yield f"{where} holds what looks like a secret, {_PLACE.sub('', kind)}"


def _name(row: Mapping[str, object]) -> str:
    return (
        f"{row.get('level')} of {row.get('logger_name')} at {row.get('source_file')}:{row.get('source_line')}"
    )
