"""Which names hold secrets, in any style: ``db_password``, ``X-Api-Key``, ``AccountKey``, ``csrftoken``.

A name is taken apart into words. One of them, or a pair, says that a secret follows; a word behind it may
say that only something about the secret does, as in ``token_count`` or ``password_reset_sent``.
"""

import re
from collections.abc import Iterable
from enum import IntEnum
from typing import Final

_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]++|\d++")
#: Longer names are judged by their end, where the word that counts stands.
_LONGEST: Final = 96
_CACHE_MAX: Final = 4_096


class Secrecy(IntEnum):
    """How secret the value of a name is."""

    #: Not by its name.
    NONE = 0
    #: A text is secret, a small number is not: it counts something.
    TEXT = 1
    #: Everything but True, False and None is secret.
    ALL = 2
    #: The user configured the name: everything but None is secret.
    CONFIGURED = 3


def words(text: str) -> frozenset[str]:
    """Return the words of a text."""
    return frozenset(text.split())


_PASSWORDS: Final = words(
    """
    password passwords passwd passwds passphrase passphrases passcode pwd passwort secret otp totp cvv cvc
    cvv2 cvc2 pw psw passw dbpass userpass mypass sshpass smtppass ftppass storepass keypass mnemonic
    kennwort motdepasse
    """
)
_SECRETS: Final = words(
    """
    secrets token tokens authorization authorisation cookie cookies credential credentials creds apikey
    apikeys signature signatures sig sas jwt csrf xsrf sessionid sessid phpsessid jsessionid aspsessionid
    authkey accesskey secretkey privatekey accountkey masterkey sharedkey signingkey encryptionkey
    connectionstring connstr dsn auth
    """
)
_ENDS_ALL: Final = ("password", "passwd", "passphrase", "pwd", "pw", "secret")
_ENDS: Final = (
    "token", "secret", "cookie", "apikey", "secretkey", "privatekey", "accesskey", "accountkey",
    "credential", "credentials", "sessionid", "sessid", "sharedaccesssignature", "connectionstring",
)  # fmt: skip
#: Before ``key``: what opens something. ``primary``, ``cache``, ``public``, ``sort`` and the like do not.
_KEYS: Final = words(
    """
    api access private account shared secret storage master encryption encrypt signing sign sas auth security
    subscription ssh rsa dsa ecdsa pgp gpg functions function admin hmac aes crypto cipher session consumer
    tls ssl jwt app application instrumentation license wrapping root deploy webhook service hash fernet
    cert keystore truststore recovery unlock stripe adafruit airtable algolia alibaba asana atlassian
    bittrex coinbase cohere confluent datadog dropbox etsy fastly finnhub heroku hubspot intercom jfrog
    kraken kucoin linode lob mailchimp mailgun mapbox mattermost messagebird okta openai openweather
    pagerduty plaid postmark rapidapi sendgrid sentry shodan snyk sonar telegram tmdb trello twilio twitch
    twitter typeform yandex zendesk anthropic
    """
)
#: Before ``pass``, which else is a pass of a compiler or for a train.
_PASSES: Final = words(
    """
    db user smtp mail email ftp ssh proxy redis mysql pg postgres root admin login auth basic http sql
    database amqp rabbitmq broker ldap wifi my
    """
)
#: Before ``code``: what lets someone in once.
_CODES: Final = words(
    "auth authorization verification recovery backup otp mfa fa security oauth access sms pin"
)
_SESSIONS: Final = words("session user django flask php http login auth asp net web x connect")
#: As secret as a password, however short.
_TWO_WORDS: Final = frozenset(
    {("pass", "phrase"), ("pass", "word"), ("security", "code"), ("seed", "phrase"), ("recovery", "phrase")}
)
#: Before ``auth``, which else names a way or a server.
_AUTHS: Final = frozenset({"", "basic", "http", "proxy", "x", "rediscli", "zumo"})
#: Before ``signature``: no seal, but how something is called.
_CALLED: Final = words("function method type call")
#: Behind the secret's own word: about it, not it.
_ABOUT: Final = words(
    """
    accepted age algorithm at attempt attempts audience backend bucket budget cached changed check checked
    class consent cost count counter counts created date days deleted dir disabled domain duration elapsed
    enabled endpoint error errors exists expired expires expiration expiry failed failures field fields
    file filename fingerprint form format found generator hasher hashers hint hours id ids index invalid
    is issued issuer kind label latency left len length level limit limiter limits lifetime location
    manager max min minutes missing mismatch mode ms name names ns offset on ok page path policy policies
    position present price prompt provider rate received refreshed rejected remaining required requested
    reset retries revoked rotated rotation rules scope scopes score seconds sent service set size source
    state status store strength time tries ttl type types updated uri url usage used valid validator
    validators validity verified version view
    """
)


#: In lower case each secret name has one of these in it, and so has what statements of SQL say of a password.
_STEMS: Final = (
    "pass", "key", "sig", "token", "secret", "auth", "sess", "cookie", "code", "cred", "conn", "pw", "sid",
    "jwt", "sas", "otp", "dsn", "srf", "cv", "psw", "phrase", "mnemonic", "kennwort", "ntified",
)  # fmt: skip


class SecretNames:
    """Judges how secret the values of names are; any thread may ask, and answers are cached.

    Args:
        configured: further names whose values are secret, in any style.
    """

    def __init__(self, configured: Iterable[str] = ()) -> None:
        self._configured = tuple(parts for name in configured if (parts := split(name)))
        self._stems = _STEMS + tuple(one[0] for one in self._configured)
        self._joined = frozenset("".join(one) for one in self._configured)
        self._known: dict[str, Secrecy] = {}

    def may_occur_in(self, text: str) -> bool:
        """Return whether a secret name with a value may stand in a text; at a fraction of a search's cost."""
        if not (
            "=" in text
            or ":" in text
            or ("-" in text and ("--" in text or " -" in text or "'-" in text))
            or "'" in text
            or '"' in text
            or ">" in text
            or ("[" in text and ("[(" in text or "[[" in text))
            or "&" in text
            or ("%" in text and "%3" in text)
            or ("\\" in text and "\\u00" in text)
            or " password " in text
        ):
            return False  # nothing stands in it between a name and its value
        low = text.lower()
        for stem in self._stems:  # noqa: SIM110  # a generator takes twice as long
            if stem in low:
                return True
        return False

    def secrecy(self, name: str) -> Secrecy:
        """Return how secret the value of this name is."""
        secrecy = self._known.get(name)
        if secrecy is None:
            secrecy = self._judge(split(name))
            if len(self._known) >= _CACHE_MAX:
                self._known = {}
            if len(name) <= _LONGEST:
                self._known[name] = secrecy
        return secrecy

    def _judge(self, parts: list[str]) -> Secrecy:
        if not parts:
            return Secrecy.NONE
        if "".join(parts) in self._joined:
            return Secrecy.CONFIGURED
        for end in range(len(parts), 0, -1):
            secrecy = self._unit(parts, end)
            if secrecy:
                return Secrecy.NONE if not _ABOUT.isdisjoint(parts[end:]) else secrecy
        return Secrecy.NONE

    def _unit(self, parts: list[str], end: int) -> Secrecy:
        """Return what the word before ``end`` says, together with the ones before it."""
        for configured in self._configured:
            if end >= len(configured) and parts[end - len(configured) : end] == configured:
                return Secrecy.CONFIGURED
        word = parts[end - 1]
        before = parts[end - 2] if end > 1 else ""
        if word in _PASSWORDS or word.endswith(_ENDS_ALL):
            return Secrecy.ALL
        if (before, word) in _TWO_WORDS:
            return Secrecy.ALL
        if word == "pass":
            is_secret = (not before or before in _PASSES) and end == len(parts)
            return (Secrecy.ALL if before else Secrecy.TEXT) if is_secret else Secrecy.NONE
        is_secret = word in _SECRETS or word.endswith(_ENDS) or _is_pair(word, before, parts[: end - 1])
        if word == "auth":
            is_secret = end == len(parts) and before in _AUTHS
        elif word.startswith("signature"):
            is_secret = before not in _CALLED
        return Secrecy.TEXT if is_secret else Secrecy.NONE


def _is_pair(word: str, before: str, all_before: list[str]) -> bool:
    if word in ("key", "keys"):
        return before in _KEYS
    if word in ("string", "strings", "str"):
        return before in ("connection", "conn")
    if word == "id":
        return before == "session" and _SESSIONS.issuperset(all_before)
    if word == "sid":
        return not before or _SESSIONS.issuperset(all_before)
    return word in ("code", "codes") and before in _CODES


def split(name: str) -> list[str]:
    """Return the words of a name in lower case, whatever joins them."""
    return [word.lower() for word in _WORD.findall(name[-_LONGEST:])]
