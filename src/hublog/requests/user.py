"""Who makes a request, as far as the application knows already; nothing is loaded for the log."""

import hashlib
from collections.abc import Callable, Mapping
from types import GetSetDescriptorType, MemberDescriptorType
from typing import Any, Final
from uuid import UUID

from hublog.capture import context

_HASH_BYTES: Final = 16
_NAME_MAX: Final = 256
#: Where an object of an unknown kind may have its key, the surest first.
_KEYS: Final = ("pk", "identity", "user_id", "id", "auth_id", "sub", "username", "display_name")
#: Of these a framework says that they are made of what is loaded: Django's model, Starlette's users.
_MADE: Final = frozenset({"pk", "identity", "display_name"})
#: An attribute in a slot is read as one in a dictionary is.
_STORED: Final = (MemberDescriptorType, GetSetDescriptorType)


class UserLook(context.Look):
    """Looks, for each record of a request, whether the application has loaded the user; it loads nothing.

    Attributes:
        note: takes the user's columns and returns those to bind; set by ``RequestScope.look_for_user``.
    """

    __slots__ = ("note",)

    def __init__(self) -> None:
        super().__init__()
        self.note: Callable[[Mapping[str, object]], Mapping[str, object] | None] = lambda _: None

    def look(self) -> None:
        """Note the user if it is another one than before."""
        fields = self.read()
        if fields:
            self.found = self.note(fields) or self.found

    def read(self) -> Mapping[str, object]:
        """Return the columns of the user that is loaded now, nothing for none; set ``probes``."""
        raise NotImplementedError


def user_fields(user: object, key: Callable[[], object]) -> dict[str, object]:
    """Return the user's columns; an anonymous user has no id.

    One that SQLAlchemy has expired, as after a commit, is known by the primary key: to read an attribute
    would make a query.

    Args:
        user: an object with ``is_authenticated``, loaded by the application.
        key: gives its key; asked only for a user who is signed in.
    """
    expired = _expired_key(user)
    if expired is not None:
        return {"user_authenticated": True, "user_id": expired[:_NAME_MAX]}
    is_authenticated = bool(getattr(user, "is_authenticated", False))
    found = key() if is_authenticated else None
    return {"user_authenticated": is_authenticated, "user_id": "" if found is None else str(found)}


def _expired_key(user: Any) -> str | None:  # noqa: ANN401  # of any kind
    """Return the primary key of an object whose attributes SQLAlchemy would load again, None for others."""
    state = user._sa_instance_state if hasattr(type(user), "_sa_class_manager") else None  # noqa: SLF001  # how it marks its own
    if state is None or not state.expired_attributes or state.key is None:
        return None
    identity = state.key[1]
    return str(identity[0]) if len(identity) == 1 else ""


def caller_fields(user: Any) -> dict[str, object]:  # noqa: ANN401  # of any framework, or the application's own
    """Return the columns of whatever a framework has put in the place of the user; nothing is loaded for it.

    One who does not say whether he is signed in is, since he is there.
    """
    if user is not None and any(base.__name__ == "LazyObject" for base in type(user).__mro__):
        user = vars(user).get("_wrapped")
        if type(user) is object:  # not loaded
            return {}
    if user is None:
        return {}
    is_authenticated = bool(getattr(user, "is_authenticated", True))
    return {"user_authenticated": is_authenticated, "user_id": _key_of(user) if is_authenticated else ""}


def _key_of(user: Any) -> str:  # noqa: ANN401  # of any framework, or the application's own
    if isinstance(user, str | int | UUID):
        return str(user)[:_NAME_MAX]
    known = user if isinstance(user, Mapping) else getattr(user, "__dict__", {})
    for name in _KEYS:
        value = known.get(name)
        if value is None and not isinstance(user, Mapping):
            value = _made(user, name)
        if isinstance(value, str | int | UUID) and value != "":
            return str(value)[:_NAME_MAX]
    return ""


def _made(user: object, name: str) -> object:
    """Return an attribute that is not in the dictionary of an object, where reading it loads nothing."""
    kind = type(user)
    attribute = getattr(kind, name, None)
    if isinstance(attribute, str | int | UUID):
        return attribute
    is_safe = isinstance(attribute, _STORED) or (
        name in _MADE and isinstance(attribute, property) and not hasattr(kind, "_sa_class_manager")
    )
    try:
        return getattr(user, name) if is_safe else None
    except Exception:  # noqa: BLE001  # Starlette's users need not have an identity
        return None


def session_hash(key: object) -> str:
    """Return the ``session_id`` of a session's key: 32 hex digits that do not lead back to it.

    Who holds the key can make them: ``hashlib.blake2b(key.encode(), digest_size=16).hexdigest()``.
    """
    text = str(key) if key else ""
    if not text:
        return ""
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=_HASH_BYTES).hexdigest()
