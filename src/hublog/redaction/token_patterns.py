"""Tokens and keys by the prefix that their issuer gives them, for just this purpose.

A text holds one only if it has a long run of letters and digits, and before or in it the prefix, which is a
word of its own. So most texts are known to hold none by one look at their bytes, and of the others the words
say which expressions are to be searched for.
"""

import re
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Final, NamedTuple

from hublog.redaction.text_ranges import Span, is_in_word


class _Token(NamedTuple):
    """A token by its prefix.

    Attributes:
        lead: what the expression begins with.
        rest: what follows.
        before: characters before the lead that belong to the secret as well; the expression demands them.
            A negative number: so many of the lead do not belong to it.
    """

    kind: str
    lead: str
    rest: str
    before: int = 0


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
_TOKENS: Final = tuple(
    _Token(kind, lead, rest, *before) for kind, leads, rest, *before in _PREFIXES for lead in leads.split()
)
#: A text without a run of so many letters, digits, ``_`` and ``-`` holds no token.
_RUN: Final = b"x" * 16
_WORD_CHARACTERS: Final = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
_RUNS: Final = bytes(ord("x") if code in b"_-" + _WORD_CHARACTERS else ord(" ") for code in range(256))
_WORDS: Final = bytes(code if code in _WORD_CHARACTERS else ord(" ") for code in range(256))
_FIRST_WORD: Final = re.compile(r"[A-Za-z0-9]+")
#: Prefixes that go over into the token without a sign between.
_GLUED: Final = tuple(token for token in _TOKENS if token.lead.isalnum())
_GLUED_UPPER: Final = re.compile("|".join(token.lead for token in _GLUED if not token.lead.islower()))
_PAT: Final = re.compile(r"pat[A-Za-z0-9]{14}\.")
_PAT_SHORTEST: Final = 80


def _by_word() -> dict[bytes, tuple[_Token, ...]]:
    """Return the tokens by the first word of their prefix, also behind the letter of an escape."""
    found: dict[bytes, tuple[_Token, ...]] = {}
    for token in _TOKENS:
        words = _FIRST_WORD.findall(token.lead)
        if token not in _GLUED and words:
            for word in (words[0], *(f"{escape}{words[0]}" for escape in "nrt")):
                found[word.encode()] = (*found.get(word.encode(), ()), token)
    for number in range(1, 30):
        found[b"us%d" % number] = found[b"us"]
    return found


_BY_WORD: Final = _by_word()
_LEADS: Final = frozenset(_BY_WORD)


def has_run(data: bytes) -> bool:
    """Return whether a text, in UTF-8, has a run of letters and digits that is long enough for a token."""
    return data.translate(_RUNS).find(_RUN) >= 0  # ``in`` takes five times as long


def may_hold_token(text: str, data: bytes) -> bool:
    """Return whether ``find_tokens`` could find anything in a text that has a run, at a fraction of its cost.

    Args:
        text: any text.
        data: the same in UTF-8.
    """
    return (
        "%" in text
        or "dapi" in text
        or "4b1d" in text
        or (not text.islower() and (":AA" in text or _GLUED_UPPER.search(text) is not None))
        or (len(text) > _PAT_SHORTEST and _PAT.search(text) is not None)
        or not _LEADS.isdisjoint(data.translate(_WORDS).split())
    )


def _may_hold_glued(text: str) -> bool:
    if "dapi" in text or "4b1d" in text or (len(text) > _PAT_SHORTEST and _PAT.search(text)):
        return True
    return not text.islower() and (":AA" in text or _GLUED_UPPER.search(text) is not None)


def holds_lead(text: str) -> bool:
    """Return whether anything stands in a text that a token could begin with."""
    return any(token.lead in text for token in _TOKENS)


def find_tokens(text: str) -> Iterator[Span]:
    """Find tokens and keys by their prefix."""
    for token in _candidates(text):
        if token.lead in text:
            yield from _find(text, token)


def _candidates(text: str) -> Iterable[_Token]:
    if "%" in text:
        return _TOKENS
    words = set(text.encode("utf-8", "surrogatepass").translate(_WORDS).split())
    glued = _GLUED if _may_hold_glued(text) else ()
    by_word = {token for word in words & _LEADS for token in _BY_WORD[word]}
    return (*glued, *by_word, *(token for token in _TOKENS if token.lead == ":AA"))


@cache
def _expression(token: _Token) -> re.Pattern[str]:
    """Return the expression of a token: compiled when first needed, since all of them take milliseconds."""
    return re.compile(re.escape(token.lead) + token.rest)


def _find(text: str, token: _Token) -> Iterator[Span]:
    at, expression = 0, _expression(token)
    while found := expression.search(text, at):
        start, at = found.start() - token.before, found.end()
        if token.before < 0 or not is_in_word(text, start):
            yield Span(start, at, token.kind)
