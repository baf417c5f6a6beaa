"""Who makes a request, as far as the application knows already; nothing is loaded for the log."""

import hashlib
from collections.abc import Callable
from typing import Final

_HASH_BYTES: Final = 16


def user_fields(user: object, key: Callable[[], object]) -> dict[str, object]:
    """Return the user's columns; an anonymous user has no id.

    Args:
        user: an object with ``is_authenticated``, loaded by the application.
        key: gives its key; asked only for a user who is signed in.
    """
    is_authenticated = bool(getattr(user, "is_authenticated", False))
    found = key() if is_authenticated else None
    return {"user_authenticated": is_authenticated, "user_id": "" if found is None else str(found)}


def session_hash(key: object) -> str:
    """Return the ``session_id`` of a session's key: 32 hex digits that do not lead back to it.

    Who holds the key can make them: ``hashlib.blake2b(key.encode(), digest_size=16).hexdigest()``.
    """
    text = str(key) if key else ""
    if not text:
        return ""
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=_HASH_BYTES).hexdigest()
