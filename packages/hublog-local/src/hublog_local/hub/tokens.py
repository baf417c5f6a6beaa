"""Shared access signatures: who may do what, and until when."""

import base64
import hashlib
import hmac
import time
import urllib.parse
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

#: What a token is taken for that does not say when it ends.
_JWT_LIFETIME_S: Final = 3600.0
_SAS_TYPES: Final = ("servicebus.windows.net:sastoken", "amqp:sastoken")
_JWT_TYPES: Final = ("jwt", "amqp:jwt")
_UNAUTHORIZED: Final = 401


class TokenAnswer(NamedTuple):
    """What becomes of a token.

    Attributes:
        status: 202 if it is taken, else a status of HTTP.
        description: says why.
        expires_at: seconds since 1970 UTC; 0 if it is refused.
    """

    status: int
    description: str
    expires_at: float = 0.0

    @property
    def is_accepted(self) -> bool:
        """Whether the peer may go on."""
        return self.status < 300


class TokenChecker:
    """Checks tokens against the keys of the hub.

    Args:
        keys: key by name of the policy; None takes every token that is well formed and not expired.
        clock: seconds since 1970 UTC; ``now`` afterwards.
    """

    def __init__(self, keys: Mapping[str, str] | None, *, clock: Callable[[], float] = time.time) -> None:
        self._keys = None if keys is None else dict(keys)
        self.now = clock

    def __repr__(self) -> str:
        return f"TokenChecker(keys={None if self._keys is None else sorted(self._keys)})"

    @property
    def needs_token(self) -> bool:
        """Whether a link without a token is refused."""
        return self._keys is not None

    def set_key(self, name: str, key: str) -> None:
        """Have a policy take this key from now on, in place of its former one."""
        if self._keys is not None:
            self._keys = {**self._keys, name: key}

    def check(self, kind: object, token: object, audience: str) -> TokenAnswer:
        """Check the token of a put-token request, of the type ``kind``, for access to ``audience``."""
        if not isinstance(token, str) or not token:
            return TokenAnswer(400, "The token is missing.")
        if kind in _JWT_TYPES:
            if self._keys is None:
                return TokenAnswer(202, "Accepted", self.now() + _JWT_LIFETIME_S)
            return TokenAnswer(
                _UNAUTHORIZED, "InvalidToken: this hub has keys and takes their signatures only."
            )
        if kind not in _SAS_TYPES:
            return TokenAnswer(400, "The token type is not supported.")
        return self._check_signature(token, audience)

    def check_password(self, name: str, password: str) -> bool:
        """Check a name and key that came with SASL PLAIN."""
        if self._keys is None:
            return True
        key = self._keys.get(name)
        return key is not None and hmac.compare_digest(key.encode(), password.encode())

    def _check_signature(self, token: str, audience: str) -> TokenAnswer:
        word, _, rest = token.partition(" ")
        try:
            fields = dict(part.split("=", 1) for part in rest.split("&"))
            written, expiry = fields["sr"], int(fields["se"])
            name, signature = (urllib.parse.unquote(fields[key]) for key in ("skn", "sig"))
        except (ValueError, KeyError):
            word = ""
        if word != "SharedAccessSignature":
            return TokenAnswer(
                _UNAUTHORIZED, "MalformedToken: it must be SharedAccessSignature sr=..&sig=..&se=..&skn=.."
            )
        if expiry <= self.now():
            return TokenAnswer(
                _UNAUTHORIZED, f"ExpiredToken: The token is expired. Expiration time: {expiry}."
            )
        if self._keys is not None:
            key = self._keys.get(name)
            if key is None or not hmac.compare_digest(_sign(key, written, expiry), signature.encode()):
                return TokenAnswer(_UNAUTHORIZED, "InvalidSignature: The token has an invalid signature.")
            if not _covers(urllib.parse.unquote(written), audience):
                return TokenAnswer(_UNAUTHORIZED, "InvalidAudience: The token is for another resource.")
        return TokenAnswer(202, "Accepted", expiry)


def _sign(key: str, written: str, expiry: int) -> bytes:
    """Sign a resource as it is written in the token: generators differ in how they escape it."""
    return base64.b64encode(hmac.new(key.encode(), f"{written}\n{expiry}".encode(), hashlib.sha256).digest())


def _covers(resource: str, audience: str) -> bool:
    """Return whether a token for ``resource`` gives access to ``audience``: the paths are compared."""
    mine = _path(resource)
    return _path(audience)[: len(mine)] == mine


def _path(address: str) -> list[str]:
    parts = urllib.parse.urlsplit(address)
    path = parts.path if parts.scheme else address.partition("/")[2]
    return [part.lower() for part in path.split("/") if part]
