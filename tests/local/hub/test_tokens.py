import base64
import hashlib
import hmac
import urllib.parse

import pytest

from hublog_local.hub.tokens import TokenChecker

SAS = "servicebus.windows.net:sastoken"
AUDIENCE = "sb://127.0.0.1:5672/logs"


def token(key="secret", name="policy", resource=AUDIENCE, expiry=2000):
    quoted = urllib.parse.quote_plus(resource)
    digest = hmac.new(key.encode(), f"{quoted}\n{expiry}".encode(), hashlib.sha256).digest()
    signature = urllib.parse.quote_plus(base64.b64encode(digest).decode())
    return f"SharedAccessSignature sr={quoted}&sig={signature}&se={expiry}&skn={name}"


@pytest.fixture
def checker():
    return TokenChecker({"policy": "secret"}, clock=lambda: 1000.0)


def test_a_good_signature_is_taken_until_it_expires(checker):
    answer = checker.check(SAS, token(), AUDIENCE)
    assert (answer.status, answer.expires_at) == (202, 2000)


@pytest.mark.parametrize("resource", ["sb://127.0.0.1:5672", "http://127.0.0.1/", "sb://127.0.0.1/LOGS"])
def test_a_token_of_the_namespace_or_in_another_case_covers_the_hub(checker, resource):
    assert checker.check(SAS, token(resource=resource), AUDIENCE).is_accepted


@pytest.mark.parametrize(
    "written",
    ["sb%3a%2f%2f127.0.0.1%3a5672%2flogs", "sb%3A%2F%2F127.0.0.1%3A5672%2Flogs", "sb://127.0.0.1:5672/logs"],
)
def test_a_resource_is_signed_as_it_is_written_in_the_token(checker, written):
    digest = hmac.new(b"secret", f"{written}\n2000".encode(), hashlib.sha256).digest()
    signature = urllib.parse.quote_plus(base64.b64encode(digest).decode())
    text = f"SharedAccessSignature sig={signature}&se=2000&skn=policy&sr={written}"
    assert checker.check(SAS, text, AUDIENCE).is_accepted


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (token(key="wrong"), "InvalidSignature"),
        (token(name="other"), "InvalidSignature"),
        (token(expiry=1000), "ExpiredToken"),
        (token(resource="sb://127.0.0.1:5672/other"), "InvalidAudience"),
        ("SharedAccessSignature sr=a&sig=b&skn=c", "MalformedToken"),
        ("SharedAccessSignature sr=a&sig=b&se=soon&skn=c", "MalformedToken"),
        ("SharedAccessSignature", "MalformedToken"),
        ("Bearer " + token().partition(" ")[2], "MalformedToken"),
    ],
)
def test_a_bad_signature_is_refused_with_its_reason(checker, text, reason):
    answer = checker.check(SAS, text, AUDIENCE)
    assert (answer.status, answer.description.partition(":")[0]) == (401, reason)


@pytest.mark.parametrize(("kind", "text"), [(SAS, None), (SAS, ""), (SAS, 5), ("other", "text")])
def test_what_is_no_token_is_a_bad_request(checker, kind, text):
    assert checker.check(kind, text, AUDIENCE).status == 400


def test_without_keys_every_token_is_taken_that_is_well_formed_and_not_expired():
    checker = TokenChecker(None, clock=lambda: 1000.0)
    assert checker.check(SAS, token(key="any"), AUDIENCE).is_accepted
    assert checker.check("jwt", "any.thing.here", AUDIENCE).is_accepted
    assert not checker.check(SAS, token(expiry=999), AUDIENCE).is_accepted
    assert not checker.check(SAS, "nonsense", AUDIENCE).is_accepted
    assert checker.check_password("any", "any")


def test_with_keys_a_jwt_is_refused_because_nobody_can_check_it(checker):
    assert checker.check("jwt", "any.thing.here", AUDIENCE).status == 401


def test_a_password_is_compared_with_the_key(checker):
    assert checker.check_password("policy", "secret")
    assert not checker.check_password("policy", "wrong")
    assert not checker.check_password("other", "secret")


def test_a_key_is_never_shown(checker):
    assert "secret" not in repr(checker)
