"""Secrets that are known by their form: tokens by the prefix of their issuer, private keys, sign-ins in URLs.

Most texts are known to hold none by one look at their bytes: nearly all tokens have a long run of letters and
digits. Of the others, the words say which expressions have to be searched for. Each expression takes time in
proportion to the text: what follows a repeat without an end is optional, and whether it is a secret is
decided afterwards, so that nothing is read twice.
"""

import base64
import binascii
import re
from collections.abc import Iterable, Iterator
from functools import cache
from operator import add
from typing import Final, NamedTuple

from hublog.redaction.text_ranges import KEY_END, Span, is_in_word, is_mark


class _Token(NamedTuple):
    """A secret that begins with a fixed text and goes on in one form.

    Attributes:
        lead: what the expression begins with.
        rest: what follows.
        before: characters before the lead that belong to the secret as well; the expression demands them.
            A negative number: characters of the lead that do not belong to it.
    """

    kind: str
    lead: str
    rest: str
    before: int = 0


#: Searched for wherever their lead stands.
_FORMS: Final = (
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
#: What a text has in it that holds one of these, and what one has that has a long run as well.
_SIGNS: Final = ("earer", "asic", "Q~", "+A", "-----BEGIN", "EARER")
_SIGNS_IN_RUNS: Final = ("hook", "telegram", "eyJ")
_END: Final = r"(?![A-Za-z0-9])"
_A: Final = "[A-Za-z0-9]"
_U: Final = "[A-Za-z0-9_-]"
_H: Final = "[a-fA-F0-9]"

#: Kind, prefixes and what follows them. Sources: the issuers' documents, the default rules of gitleaks 8.30.
_PREFIXES: Final = (
    ("1Password key", "A3-", r"[A-Z0-9]{6}-(?:[A-Z0-9]{11}|[A-Z0-9]{6}-[A-Z0-9]{5})(?:-[A-Z0-9]{5}){3}"),
    ("1Password token", "ops_eyJ", r"[A-Za-z0-9+/]{80,}+={0,3}+"),
    ("Adobe secret", "p8e-", _A + "{32}" + _END),
    ("age key", "AGE-SECRET-KEY-1", "[A-Z0-9]{50,}+"),
    ("Airtable token", "pat", _A + r"{14}\.[a-f0-9]{64}"),
    ("Alibaba key", "LTAI", _A + "{16,20}" + _END),
    ("Artifactory key", "AKCp", _A + "{60,}+"),
    ("Artifactory token", "cmVmd", _A + "{59}" + _END),
    ("Atlassian token", "ATATT3 ATCTT3 ATBB", r"[A-Za-z0-9_=-]{20,}+"),
    ("Authress key", "sc_ ext_ scauth_ authress_", r"[a-z0-9]{5,30}\.[a-z0-9]{4,6}\.acc[_-][\w.+/=-]{40,}+"),
    ("AWS key", "AKIA ASIA ABIA ACCA", "[A-Z0-9]{16}" + _END),
    ("AWS key", "A3T", "[A-Z0-9][A-Z2-7]{16}" + _END),
    ("AWS Bedrock key", "ABSK", "[A-Za-z0-9+/]{100,}+={0,2}+"),
    ("AWS Bedrock key", "bedrock-api-key-", r"[A-Za-z0-9+/=_-]{20,}+"),
    ("Azure key", "JQQJ99", r"(?<=[A-Za-z0-9]{52}JQQJ99)[A-Za-z0-9]{20,}+", 52),
    ("Buildkite token", "bkua_ bkaj_", _A + "{20,}+"),
    ("CircleCI token", "CCIPAT_ CCIPRJ_", _A + "{10,}_?" + _H + "{0,40}+"),
    ("ClickHouse key", "4b1d", _A + "{38}" + _END),
    ("Clojars token", "CLOJARS_", _A + "{50,}+"),
    ("Cloudflare key", "v1.0-", r"[a-f0-9]{24}-[a-f0-9]{60,}+"),
    ("Databricks token", "dapi", r"[a-f0-9]{32}(?:-[0-9])?" + _END),
    ("Defined Networking token", "dnkey-", r"[A-Za-z0-9=_-]{26}-[A-Za-z0-9=_-]{40,}+"),
    ("DigitalOcean token", "doo_v1_ dop_v1_ dor_v1_", _H + "{40,}+"),
    ("Docker token", "dckr_pat_ dckr_oat_", _U + "{20,}+"),
    ("Doppler token", "dp.pt. dp.st. dp.ct. dp.sa. dp.scim. dp.audit.", r"[A-Za-z0-9._-]{30,}+"),
    ("Dropbox token", "sl.", r"[A-Za-z0-9._=-]{60,}+"),
    ("Duffel token", "duffel_test_ duffel_live_", r"[A-Za-z0-9_=-]{30,}+"),
    ("Dynatrace token", "dt0c01. dt0s01. dt0s16.", r"[A-Za-z0-9]{24}\.[A-Za-z0-9]{60,}+"),
    ("EasyPost key", "EZAK EZTK", _A + "{54}" + _END),
    ("Facebook token", "EAA", r"[A-Z][A-Za-z0-9]{80,}+"),
    ("Figma token", "figd_ figo_", _U + "{30,}+"),
    ("Flutterwave key", "FLWSECK_TEST- FLWSECK-", r"[A-Za-z0-9]{12,}+(?:-X)?"),
    ("Fly.io token", "fo1_", _U + "{40,}+"),
    ("Fly.io token", "fm1a_ fm1r_ fm2_", r"[A-Za-z0-9+/]{80,}+={0,3}+"),
    ("Frame.io token", "fio-u-", r"[A-Za-z0-9_=-]{50,}+"),
    ("GitHub token", "ghp_ gho_ ghu_ ghs_ ghr_", _A + "{20,}+"),
    ("GitHub token", "github_pat_", "[A-Za-z0-9_]{20,}+"),
    ("GitLab token", "glpat- gldt- glrt- glft- glcbt- glffct- glimt- glagent- gloas-", r"[\w.-]{20,}+"),
    ("GitLab token", "glptt- glsoat-", r"[\w.-]{20,}+"),
    ("GitLab token", "GR1348941", _U + "{20,}+"),
    ("Google key", "AIza", _U + "{35}"),
    ("Google secret", "GOCSPX-", _U + "{20,}+"),
    ("Google token", "ya29.", _U + "{20,}+"),
    ("Grafana token", "glc_", "[A-Za-z0-9+/]{32,}+={0,3}+"),
    ("Grafana token", "glsa_", _A + "{32}_" + _H + "{8}"),
    ("Grafana key", "eyJrIjoi", "[A-Za-z0-9]{50,}+={0,3}+"),
    ("Groq key", "gsk_", _A + "{40,}+"),
    ("Harness key", "pat. sat.", _U + r"{22}\.[A-Za-z0-9]{24}\.[A-Za-z0-9]{20}"),
    ("Heroku key", "HRKU-AA", _U + "{50,}+"),
    ("Hugging Face token", "hf_ api_org_", _A + "{30,}+"),
    ("Infracost token", "ico-", _A + "{32}" + _END),
    ("Intra 42 secret", "s-s4t2ud- s-s4t2af-", _H + "{60,}+"),
    ("Linear key", "lin_api_ lin_oauth_", _A + "{30,}+"),
    ("Lob key", "live_ test_", _H + "{35}" + _END),
    ("Mailchimp key", "-us", r"(?<=[a-f0-9]{32}-us)[0-9]{1,2}" + _END, 32),
    ("Mailgun key", "key-", _H + "{32}" + _END),
    ("Mapbox token", "sk.eyJ", r"[\w.-]{40,}+"),
    ("MaxMind key", "_mmk", r"(?<=_[A-Za-z0-9]{29}_mmk)" + _END, 36),
    ("Netlify token", "nfp_", _A + "{30,}+"),
    ("New Relic key", "NRAK- NRII- NRAA- NRIQ-", _U + "{20,}+"),
    ("Notion token", "ntn_", _A + "{40,}+"),
    ("npm token", "npm_", _A + "{36}"),
    ("Octopus key", "API-", "[A-Z0-9]{26}" + _END),
    ("OpenShift token", "sha256~", _U + "{43}" + _END),
    ("API key", "sk-", rf"(?:[a-z]{{2,12}}[0-9]{{0,2}}-)?{_U}{{32,}}+"),
    ("Perplexity key", "pplx-", _A + "{40,}+"),
    ("Plaid token", "access-sandbox- access-development- access-production-", r"[a-f0-9-]{36}"),
    ("PlanetScale secret", "pscale_tkn_ pscale_oauth_ pscale_pw_", r"[\w=.-]{32,}+"),
    ("Postman key", "PMAK-", r"[a-fA-F0-9]{24}-[a-fA-F0-9]{34}"),
    ("Prefect key", "pnu_ pnb_", _A + "{36}" + _END),
    ("Pulumi token", "pul-", _H + "{40}" + _END),
    ("PyPI token", "pypi-AgE", _U + "{20,}+"),
    ("ReadMe key", "rdme_", _A + "{60,}+"),
    ("Replicate token", "r8_", _A + "{37}" + _END),
    ("RubyGems key", "rubygems_", _H + "{48}" + _END),
    ("Scalingo token", "tk-us-", _U + "{40,}+"),
    ("SendGrid key", "SG.", rf"{_U}{{16,64}}\.{_U}{{16,}}+"),
    ("Brevo key", "xkeysib- xsmtpsib-", r"[a-f0-9]{60,}+-[A-Za-z0-9]{16}"),
    ("Sentry token", "sntrys_ sntryu_ sntrya_", r"[A-Za-z0-9+/=_]{40,}+"),
    ("SettleMint token", "sm_aat_ sm_pat_ sm_sat_", _A + "{16,}+"),
    ("Shippo token", "shippo_live_ shippo_test_", _H + "{40}" + _END),
    ("Shopify token", "shpat_ shpca_ shppa_ shpss_", _H + "{32}"),
    ("Slack token", "xoxa- xoxb- xoxc- xoxe- xoxo- xoxp- xoxr- xoxs-", "[A-Za-z0-9-]{10,}+"),
    ("Slack token", "xoxe.xoxb- xoxe.xoxp-", "[A-Za-z0-9-]{10,}+"),
    ("Slack token", "xapp-", "[A-Za-z0-9-]{10,}+"),
    ("SonarQube token", "squ_ sqp_ sqa_", _H + "{40}" + _END),
    ("Sourcegraph token", "sgp_", r"(?:[a-fA-F0-9]{16}_|local_)?[a-fA-F0-9]{40}" + _END),
    ("Square token", "sq0atp- sq0csp-", _U + "{22,}+"),
    ("Square token", "EAAA", _U + "{40,60}" + _END),
    ("Stripe key", "sk_live_ sk_test_ sk_prod_ rk_live_ rk_test_ rk_prod_", _A + "{10,}+"),
    ("Stripe key", "whsec_", "[A-Za-z0-9+/=]{10,}+"),
    ("Supabase key", "sbp_ sb_secret_", _U + "{20,}+"),
    ("Tailscale key", "tskey-", "[A-Za-z0-9-]{20,}+"),
    ("Telegram token", ":AA", rf"(?<=[0-9]{{5}}:AA){_U}{{33}}(?![A-Za-z0-9_-])", -1),
    ("Terraform token", ".atlasv1.", r"(?<=[A-Za-z0-9]{14}\.atlasv1\.)[A-Za-z0-9_=-]{40,}+", 14),
    ("Twilio key", "SK", _H + "{32}" + _END),
    ("Typeform token", "tfp_", r"[\w.=-]{40,}+"),
    ("Vault token", "hvs. hvb. hvr.", _U + "{24,}+"),
    ("Vault token", "s.", r"(?=[A-Za-z]{0,23}[0-9])[A-Za-z0-9]{24}" + _END),
    ("xAI key", "xai-", _A + "{40,}+"),
    ("Yandex token", "t1.", r"[A-Za-z0-9_-]{1,64}={0,2}\.[A-Za-z0-9_-]{80,}+={0,2}+"),
    ("Yandex key", "AQVN", _U + "{35,38}" + _END),
)  # fmt: skip
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
#: Letters alone that follow "Bearer" are a word of a sentence, unless there are more than this.
_WORD_LONGEST: Final = 24
_BEARER_SHORTEST: Final = 8
_ISSUED: Final = tuple(
    _Token(kind, lead, rest, *before) for kind, leads, rest, *before in _PREFIXES for lead in leads.split()
)
#: A text without a run of this length of letters, digits, ``_`` and ``-`` holds no token of an issuer.
_RUN: Final = b"x" * 16
_WORD_CHARACTERS: Final = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
_RUNS: Final = bytes(ord("x") if code in b"_-" + _WORD_CHARACTERS else ord(" ") for code in range(256))
_WORDS: Final = bytes(code if code in _WORD_CHARACTERS else ord(" ") for code in range(256))
_FIRST_WORD: Final = re.compile(r"[A-Za-z0-9]+")
#: Those whose prefix is not a word of its own, since the token follows without a sign between.
_GLUED: Final = tuple(token for token in _ISSUED if token.lead.isalnum() or token.lead == ":AA")
_GLUED_LOWER: Final = tuple(token.lead for token in _GLUED if token.lead.islower() and token.lead != "pat")
_GLUED_UPPER: Final = re.compile("|".join(token.lead for token in _GLUED if not token.lead.islower()))
#: This prefix alone is a part of too many words.
_PAT: Final = re.compile(r"pat[A-Za-z0-9]{14}\.")
_PAT_SHORTEST: Final = 80


def _by_word() -> dict[bytes, tuple[_Token, ...]]:
    """Return the tokens by the first word of their prefix, also behind the letter of an escape."""
    tokens: dict[bytes, tuple[_Token, ...]] = {}
    for token in _ISSUED:
        words = _FIRST_WORD.findall(token.lead)
        if token not in _GLUED:
            for word in (words[0], *(f"{escape}{words[0]}" for escape in "nrt")):
                tokens[word.encode()] = (*tokens.get(word.encode(), ()), token)
    for number in range(1, 30):
        tokens[b"us%d" % number] = tokens[b"us"]
    return tokens


_BY_WORD: Final = _by_word()
_LEADING_WORDS: Final = frozenset(_BY_WORD)
#: The beginnings of all tokens, by their first two characters.
_LEADS: Final[dict[str, list[str]]] = {}
for _each in _FORMS + _ISSUED:
    _LEADS.setdefault(_each.lead[:2], []).append(_each.lead)


def may_hold_token(text: str, data: bytes) -> bool:
    """Return whether ``find_tokens`` could find anything in a text, at a fraction of its cost.

    Args:
        text: any text.
        data: the same in UTF-8.
    """
    for sign in _SIGNS:
        if sign in text:
            return True
    if data.translate(_RUNS).find(_RUN) < 0:  # ``in`` takes five times as long
        return False
    return (
        "%" in text
        or _holds_any(text, _SIGNS_IN_RUNS)
        or _may_hold_glued(text)
        or not _LEADING_WORDS.isdisjoint(data.translate(_WORDS).split())
    )


def _may_hold_glued(text: str) -> bool:
    return (
        _holds_any(text, _GLUED_LOWER)
        or (not text.islower() and _GLUED_UPPER.search(text) is not None)
        or (len(text) > _PAT_SHORTEST and _PAT.search(text) is not None)
    )


def _holds_any(text: str, parts: tuple[str, ...]) -> bool:
    for part in parts:  # noqa: SIM110  # a generator takes twice as long
        if part in text:
            return True
    return False


def holds_lead(text: str) -> bool:
    """Return whether anything stands in a text that a token could begin with."""
    pairs = _LEADS.keys() & set(map(add, text, text[1:]))  # 194 leads one by one: 19 µs, not 3
    return any(lead in text for pair in pairs for lead in _LEADS[pair])


def find_tokens(text: str) -> Iterator[Span]:
    """Find tokens and keys by their form."""
    for token in (*_FORMS, *_candidates(text)):
        if token.lead in text:
            yield from _find(text, token)


def _candidates(text: str) -> Iterable[_Token]:
    """Return the tokens of issuers that may stand in a text."""
    if "%" in text:
        return _ISSUED
    words = set(text.encode("utf-8", "surrogatepass").translate(_WORDS).split())
    glued = _GLUED if _may_hold_glued(text) else ()
    return (*glued, *{token for word in words & _LEADING_WORDS for token in _BY_WORD[word]})


@cache
def _expression(token: _Token) -> re.Pattern[str]:
    """Return the expression of a token: compiled when first needed, since all of them take milliseconds."""
    return re.compile(re.escape(token.lead) + token.rest)


def _find(text: str, token: _Token) -> Iterator[Span]:
    at, expression = 0, _expression(token)
    while match := expression.search(text, at):
        start, at = match.start() - token.before, match.end()
        if token.kind == "private key":
            end = KEY_END.search(text, at)
            at = end.end() if end else len(text)
        if token.before >= 0 and is_in_word(text, start):
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
    text = secret[:1024].rstrip("=")
    if len(text) % 4 == 1:
        text = text[:-1]  # no byte ends there
    try:
        return b":" in base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        return False


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
