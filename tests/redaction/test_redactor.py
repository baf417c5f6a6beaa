import copy
import json
import logging
import re
import subprocess
import sys
import time
from urllib.parse import quote

import orjson
import pytest
from benchmarks.workload import read_lines
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from tests.kits.secret_texts import HARMLESS, SECRETS

from hublog.redaction.key_values import is_placeholder
from hublog.redaction.redactor import DEFAULT, Redactor, find_secrets, redactor_for
from hublog.settings import Mask, PersonalData, RedactionSettings

SECRET = re.compile("«(.*?)»", re.DOTALL)


def redactor(**redaction):
    return Redactor(RedactionSettings(**redaction))


def places(marked):
    """Return the text without its marks, and from where to where they stood."""
    text = re.sub("[«»]", "", marked)
    found, shift = [], 0
    for secret in SECRET.finditer(marked):
        found.append(f"{secret.start() - shift}-{secret.end() - shift - 2}")
        shift += 2
    return text, found


@pytest.mark.parametrize("marked", SECRETS.values(), ids=SECRETS.keys())
def test_a_secret_is_found_where_it_stands(marked):
    text, expected = places(marked)
    assert expected
    assert [entry.rpartition(" ")[2] for entry in find_secrets(text)] == expected


@pytest.mark.parametrize("text", HARMLESS)
def test_a_harmless_text_holds_no_secret(text):
    assert find_secrets(text) == []


@pytest.mark.parametrize("text", ["cvv=123", "otp:123", "pw=a", "cvc: 99"])
def test_a_text_of_a_few_characters_may_hold_a_secret(text):
    name, separator, _ = re.split("([=:] ?)", text)
    assert redactor().value({"note": text, "list": [text]}) == {
        "note": f"{name}{separator}[redacted]",
        "list": [f"{name}{separator}[redacted]"],
    }


def test_secrets_are_reported_without_the_secret_itself():
    assert find_secrets("password=hunter2 for 4111111111111111") == [
        "value of password at 9-16",
        "card number at 21-37",
    ]


SECRET_NAMES = """
password passwd PASSWORD db_password userPassword Password2 passwordConfirm dbpassword mysql_pwd
passphrase secret client_secret clientSecret CLIENT-SECRET app.secret token access_token accessToken
refreshtoken X-Auth-Token csrfmiddlewaretoken X-CSRFToken authorization Authorization
proxy-authorization cookie Cookie Set-Cookie apikey api_key apiKey X-Api-Key APIKey access_key
secret_access_key AWS_SECRET_ACCESS_KEY private_key privateKeyPem AccountKey SharedAccessKey ssh-key
x-functions-key connection_string ConnectionString AzureWebJobs.ConnectionString sas sig signature
X-Amz-Signature X-Amz-Credential sharedAccessSignature credential credentials sessionid PHPSESSID
JSESSIONID connect.sid session_key cvv otp jwt bearer_token hashed_password smtp_pass auth_code
"""
OPEN_NAMES = """
token_count tokenizer tokenize secretary password_reset_sent password_changed_at passenger author
authority cookies_accepted cookie_consent primary_key foreign_key cache_key public_key partition_key
key keys monkey keyboard design assigned signal compass passed bypass session_duration
chat_session_id connections basic access_key_id SharedAccessKeyName token_type expires_in
token_expires_at signature_valid function_signature boarding_pass inside sidecar postcode
status_code country_code user_id order_id secret_name password_policy compassion tokenized credit
"""


@pytest.mark.parametrize("name", SECRET_NAMES.split())
def test_the_value_of_a_secret_name_is_hidden(name):
    assert redactor().value("s3cr3t-v4lue", name) == "[redacted]"
    assert redactor().text(f"{name}=s3cr3t-v4lue") == f"{name}=[redacted]"


@pytest.mark.parametrize("name", OPEN_NAMES.split())
def test_the_value_of_a_harmless_name_stays(name):
    assert redactor().value("s3cr3t-v4lue", name) == "s3cr3t-v4lue"
    assert redactor().text(f"{name}=s3cr3t-v4lue") == f"{name}=s3cr3t-v4lue"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("password", True),
        ("password", None),
        ("password", ""),
        ("token", False),
        ("input_tokens", 1_523),
        ("max_tokens", 128_000 // 16),
        ("tokens_per_second", 12.5),
        ("token", "********"),
        ("secret", "<shop.models.Secret, not evaluated>"),
        ("password", "[redacted]"),
    ],
)
def test_what_is_no_secret_stays_under_a_secret_name(name, value):
    assert redactor().value(value, name) is value


@pytest.mark.parametrize(
    ("name", "value"), [("password", 1234), ("pin_password", 12.5), ("token", 482_913), ("api_key", 10**15)]
)
def test_a_number_that_is_a_secret_is_hidden(name, value):
    assert redactor().value(value, name) == "[redacted]"


def test_values_inside_of_values_are_scrubbed_and_the_original_stays():
    given = {
        "user": {"name": "bob", "password": "hunter2", "tags": [{"api_key": "abc"}, "token=abc1"]},
        "headers": [["Authorization", "Bearer abc"], ["Accept", "*/*"], {"name": "Cookie", "value": "a=b"}],
        "credentials": {"user": "bob", "items": ["x", 7, None]},
        "missing": ["password", "email"],
        "errors": [
            {"loc": ["body", "password"], "input": "hunter2"},
            {"loc": ["body", "password"], "input": {"user": "bob"}},
            {"loc": ["body", 0], "input": "x"},
        ],
        "body": '{"password": "hunter2"}',
        "token=abc1": 1,
        "pan": 4111111111111111,
        "order_id": 4111111111111111,
    }
    before = copy.deepcopy(given)
    assert redactor().value(given) == {
        "user": {
            "name": "bob",
            "password": "[redacted]",
            "tags": [{"api_key": "[redacted]"}, "token=[redacted]"],
        },
        "headers": [
            ["Authorization", "[redacted]"],
            ["Accept", "*/*"],
            {"name": "Cookie", "value": "[redacted]"},
        ],
        "credentials": {"user": "[redacted]", "items": ["[redacted]", 7, None]},
        "missing": ["password", "email"],
        "errors": [
            {"loc": ["body", "password"], "input": "[redacted]"},
            {"loc": ["body", "password"], "input": {"user": "bob"}},
            {"loc": ["body", 0], "input": "x"},
        ],
        "body": '{"password": "[redacted]"}',
        "token=[redacted]": 1,
        "pan": "[redacted]",
        "order_id": 4111111111111111,
    }
    assert given == before


def test_equal_secrets_have_equal_hashes_under_one_key():
    one, same = redactor(mode=Mask.HASH, hash_key="k1"), redactor(mode=Mask.HASH, hash_key="k1", keys=("x",))
    other = redactor(mode=Mask.HASH, hash_key="k2")
    text = one.text("password=hunter2")
    assert re.fullmatch(r"password=\[redacted:[0-9a-f]{16}\]", text)
    assert same.text("password=hunter2") == text
    assert f"password={one.value('hunter2', 'password')}" == text
    assert other.text("password=hunter2") != text
    assert one.text("password=hunter3") != text


def test_hashes_are_the_same_in_another_process():
    code = (
        "from hublog.redaction.redactor import Redactor\n"
        "from hublog.settings import Mask, RedactionSettings\n"
        "made = Redactor(RedactionSettings(mode=Mask.HASH, hash_key='k' * 100))\n"
        "print(made.text('password=hunter2'), end='')"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert found.stdout == redactor(mode=Mask.HASH, hash_key="k" * 100).text("password=hunter2")


@pytest.mark.parametrize("mode", [{}, {"mode": Mask.HASH, "hash_key": "k"}], ids=["mask", "hash"])
@pytest.mark.parametrize("marked", SECRETS.values(), ids=SECRETS.keys())
def test_each_secret_becomes_a_mark_and_a_mark_stays(marked, mode):
    text, expected = places(marked)
    shown = redactor(**mode).text(text)
    assert len(re.findall(r"\[redacted(?::[0-9a-f]{16})?\]", shown)) == len(expected)
    for secret in SECRET.findall(marked):
        assert secret not in shown or len(secret) < 3
    assert find_secrets(shown) == []
    assert redactor(**mode).text(shown) == shown


def test_names_of_the_user_are_secret_in_any_style_whatever_their_value():
    own = redactor(keys=("kundenNr", "diagnosis"))
    assert own.value({"Kunden_Nr": "123", "alte-kundennr": 7, "diagnosis": True, "kunden": 1}) == {
        "Kunden_Nr": "[redacted]",
        "alte-kundennr": 7,
        "diagnosis": "[redacted]",
        "kunden": 1,
    }
    assert own.text("kunde kunden-nr: K-77 diagnosis=flu ok=1") == (
        "kunde kunden-nr: [redacted] diagnosis=[redacted] ok=1"
    )
    assert own.column("user_id", "7") == "7"
    assert redactor(keys=("user_id",)).column("user_id", "7") == "[redacted]"


def test_patterns_of_the_user_are_secret_wherever_they_stand():
    own = redactor(patterns=(r"EMP-\d{6}", r"(a)\1b"))
    assert own.text("by EMP-123456 and EMP-1") == "by [redacted] and EMP-1"
    far = "x" * 3_580 + " EMP-123456 " + "y" * 9_000 + "EMP-654321"
    assert own.text(far) == far.replace("EMP-123456", "[redacted]").replace("EMP-654321", "[redacted]")
    assert own.text("aaaaaaaab") == "aaaaaaaab"


def test_wrong_settings_are_reported_once_without_the_key(caplog):
    wrong = RedactionSettings(mode=Mask.HASH, patterns=(r"(a)\1",), personal_data=PersonalData.HASH)
    with caplog.at_level(logging.WARNING, "hublog.internal"):
        found = redactor_for(wrong)
        assert redactor_for(wrong) is found
    (told,) = (record.getMessage() for record in caplog.records)
    assert r"The pattern '(a)\\1' of LOG_REDACTION_PATTERNS refers back to a group" in told
    assert "LOG_REDACTION_MODE is 'hash' without LOG_REDACTION_HASH_KEY; secrets are masked." in told
    assert "LOG_PERSONAL_DATA is 'hash' without LOG_REDACTION_HASH_KEY; a key drawn at random serves" in told
    assert found.text("password=x1") == "password=[redacted]"


def test_switched_off_nothing_is_redacted():
    off = redactor(enabled=False)
    assert off.text("password=hunter2") == "password=hunter2"
    assert off.value({"password": "x"}, "password") == {"password": "x"}
    assert off.bounded("password=" + "x" * 99, 100, 90).startswith("password=xxx")
    assert off.source("password = 'x'") == "password = 'x'"
    assert off.safe_length("password=%s") > 1_000_000


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("password = getpass()", "password = getpass()"),
        ("token = request.headers['X-Token']", "token = request.headers['X-Token']"),
        (
            "login(user, password=password, token=self.token)",
            "login(user, password=password, token=self.token)",
        ),
        ('def login(user, password: str = "hunter2"):', 'def login(user, password: str = "[redacted]"):'),
        ("password = 'hunter2'", "password = '[redacted]'"),
        ("password = 12345678", "password = [redacted]"),
        ('connect(token=SecretStr("abc"))', "connect(token=[redacted])"),
        ('db = connect("postgres://bob:hunter2@db/x")', 'db = connect("postgres://bob:[redacted]@db/x")'),
        ('raise ValueError("password=hunter2")', 'raise ValueError("password=[redacted]")'),
        ("raise ValueError(f'password={password}')", "raise ValueError(f'password={password}')"),
        ("if not token: raise Forbidden", "if not token: raise Forbidden"),
    ],
)
def test_in_a_line_of_source_only_literals_are_secret(line, shown):
    assert redactor().source(line) == shown
    assert redactor().source(line) == shown


@pytest.mark.parametrize(
    "before",
    ["mysql -p", 'mysql -p"', "curl -u kim:", "curl -u 'kim:", "openssl -passin pass:", "IDENTIFIED BY '"],
)
@pytest.mark.parametrize("length", [12, 1_020, 1_024, 20_000])
def test_a_secret_of_any_length_is_hidden_to_its_end(before, length):
    secret = "xY!9" * (length // 4)
    for after in ("", "' db", '" db'):
        shown = redactor().text(f"{before}{secret}{after}")
        assert "xY" not in shown
        assert "Y!9" not in shown


def test_a_secret_across_a_cut_leaves_no_half():
    secret = "ghp_" + "q" * 36
    for shift in range(60):
        text = "x" * (1_000 - shift) + f" {secret} " + "y" * 5_000
        assert "qqq" not in redactor().head(text, 1_000)
        for total in (6_000, 200_000):
            around = "z " * total
            for at in (1_000, 2_000):
                long = around[: at // 3 - shift] + f" {secret} " + around
                assert "qqq" not in redactor().bounded(long, 1_000, at)
                long = around + f" {secret} " + around[: at * 2 // 3 - shift]
                assert "qqq" not in redactor().bounded(long, 1_000, at)


def test_a_private_key_that_began_long_before_is_hidden_to_its_end():
    body = ("A" * 63 + "\n") * 2_000
    text = "x" * 200_000 + f"-----BEGIN PRIVATE KEY-----\n{body}-----END PRIVATE KEY----- done"
    assert redactor().bounded(text, 1_000, 4_000).endswith("[redacted] done")


def test_a_long_text_says_how_much_is_missing():
    text = "a b " * 100_000
    shown = redactor().bounded(text, 1_000, 3_000)
    left = int(re.search(r"\.\.\. (\d+) characters left out", shown)[1])
    assert len(shown) <= 3_000
    assert left + len(shown) - len(f"\n... {left} characters left out ...\n") == len(text)


@settings(deadline=None)
@given(st.text())
def test_any_text_is_scrubbed_without_an_error_and_twice_is_once(text):
    shown = redactor().text(text)
    assert redactor().text(shown) == shown
    assert (shown == text) == (find_secrets(text) == [])


@settings(deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [*"=:@'\"\\&,;([{}])<>- \n", "password", "token", "://", "eyJ", ".", "4111 ", "1", "a", "Bearer "]
        )
    )
)
def test_any_mixture_of_parts_is_scrubbed_without_an_error(parts):
    text = "".join(parts)
    shown = redactor().text(text)
    assert find_secrets(shown) == []
    assert (shown == text) == (find_secrets(text) == [])


@given(
    st.sampled_from(list(SECRETS.values())), st.text("abc \n.", max_size=30), st.text("abc \n.", max_size=30)
)
def test_a_secret_is_caught_whatever_stands_around(marked, before, after):
    text = places(marked)[0]
    shown = redactor().text(f"{before} {text}\n{after}")
    for secret in SECRET.findall(marked):
        assert secret not in shown or len(secret) < 5


@settings(deadline=None)
@given(
    st.lists(st.sampled_from(["%s", "order ", "token", "4111", "=", "-", "Bearer ", " ", "key"]), max_size=5),
    st.sampled_from(["7", "=", ":x", "hunter2", "4111111111111111", "a@b", "eyJ", "-p", "secret>"]),
)
def test_a_message_that_completes_no_secret_by_its_template_holds_none(parts, argument):
    template = "".join(parts)
    message = template % ((argument,) * template.count("%s"))
    assume(redactor().completes_none(template, message))
    assert redactor().text(message) == message


FORMS = {
    "JSON": lambda name, secret: (json.dumps({"a": 1, name: secret, "b": "x"}), json.dumps(secret)[1:-1]),
    "JSON inside JSON": lambda name, secret: (
        json.dumps({"body": json.dumps({name: secret, "b": "x"})}),
        json.dumps(json.dumps(secret)[1:-1])[1:-1],
    ),
    "repr": lambda name, secret: (repr({"a": 1, name: secret, "b": "x"}), repr(secret)[1:-1]),
    "bytes": lambda name, secret: (repr({name: secret.encode()}), repr(secret.encode())[2:-1]),
    "object": lambda name, secret: (f"User(id=1, {name}={secret!r}, b=2)", repr(secret)[1:-1]),
    "pairs": lambda name, secret: (repr([("a", "b"), (name, secret)]), repr(secret)[1:-1]),
    "query": lambda name, secret: (f"/x?a=b&{name}={quote(secret, safe='')}&z=1", quote(secret, safe="")),
    "sign-in": lambda _, secret: (f"amqp://bob:{quote(secret, safe='')}@host/x", quote(secret, safe="")),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@settings(deadline=None)
@given(
    st.sampled_from(["password", "db_password", "apiKey", "token", "client_secret", "Authorization"]),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=6, max_size=24),
)
@example("password", '"00"00')
def test_whatever_a_secret_is_made_of_nothing_of_it_is_left(form, name, secret):
    text, encoded = form(name, secret)
    assume(any(map(str.isalnum, secret)) and not is_placeholder(encoded) and not is_placeholder(secret))
    assume(secret not in name)  # the name stays, and what remains of it without the secret says nothing
    rest = text.replace(encoded, "") + "[redacted]"
    shown = redactor().text(text)
    pieces = {encoded[at : at + 5] for at in range(len(encoded) - 4)}
    assert not [piece for piece in pieces if piece in shown and piece not in rest]


HOSTILE = (
    "a",
    "1",
    ")",
    "}]",
    "=",
    '"',
    "'",
    "://",
    "eyJ",
    "_eyJ",
    "eyJ.",
    " ",
    "password",
    "password=",
    "password='",
    "token:[",
    "token=x(",
    'token=\\"',
    "token='\\'",
    "://a:b@",
    "://a:",
    "4111 1111 1111 1112 ",
    "-",
    "--token ",
    "cookie:",
    "-----BEGIN PRIVATE KEY-----",
    "token=a,b",
    "Bearer a ",
    "Basic YTpi ",
    "ghp_",
    "sk-",
    "+AEh",
    "1Q~",
    "%3D",
    "<token>",
    "api key: x ",
    "token=\n",
    "\\",
    "a.b-",
    "&code=",
    "authorization: Digest ",
    "SG.aaaaaaaaaaaaaaaaa.",
    "Authorization: a ",
    "Authorization: None ",
    "authorization=x a=1 ",
    'Cookie: a="',
    "Cookie: a ",
    "passphrase: a ",
    "'Authorization: \\\\",
    "<password><![CDATA[",
    "<password>a",
    "password='a''b",
    "password={a}",
    "mysql -p",
    "curl -u a:",
    'mysql -p\\"',
    "mysql -p\\'a\n",
    'curl -u \\"a ',
    "openssl -passin pass:\\'",
    "'curl', '-u', 'a",
    "sshpass -p ",
    "-pw ",
    "'--password', '",
    "INSERT INTO a (password) VALUES ('",
    "INSERT INTO a (password) VALUES (''",
    "INSERT INTO a (password''",
    "INSERT INTO t (password) VALUES (\\'[[",
    'INSERT INTO t (password) VALUES (b\\"a)',
    "insert into password ",
    "IDENTIFIED BY '",
    'IDENTIFIED BY \\"a',
    "--password \\'a",
    "password for '",
    "Cookie(name=a value='",
    "<Cookie a=",
    "PASSWORD ('",
    "UPDATE a SET password=?",
    "[parameters: (",
    "args=('a', ",
    "password=? args=('a') ",
    "select password=? args=(''",
    "input_value=",
    "'loc':('key'),'input':",
    "'loc':('key'),'input':\\\"a",
    "'loc':('key','a',",
    "key[",
    "key%5B",
    "password\n input_value={...",
    'name="password"\r\n\r\n',
    'form-data name="password"; x',
    'form-data name="password"\r\n\r\ninput_value=',
    "\x1b[1m",
    "\\x1b[1m=",
    "\x1b[1m[",
    "s.abcdefghijklmnopqrstuvw1",
    "pat0123456789abcd.",
    ":AA0123456789",
    "A3-ABCDEF-",
)


#: What they follow, where it makes a difference.
HEADS = {'\\"_...': "INSERT INTO t (password) VALUES (", "\\'a": "INSERT INTO t (password, a) VALUES (b"}


@pytest.mark.parametrize("part", [*HOSTILE, *HEADS])
def test_the_time_grows_with_the_text_and_not_with_its_square(part):
    def taken(size):
        text = f"{HEADS.get(part, 'password=')}{part * size}x"
        best = float("inf")
        for _ in range(3):
            start = time.process_time()
            redactor().text(text)
            best = min(best, time.process_time() - start)
        return best

    size = 65_536 // len(part)
    # With the square it would be 16 times; below the resolution of the clock there is nothing to compare.
    assert taken(size) < 9 * max(taken(size // 4), 0.002)


def test_nothing_in_realistic_records_is_taken_for_a_secret():
    for line in read_lines()[::4]:
        assert find_secrets(line.decode()) == []
        row = orjson.loads(line)
        extra = row.pop("extra", {})
        assert redactor().value(extra) == extra
        for value in row.values():
            assert redactor().value(value) == value


@given(
    st.sampled_from((16, 32)).flatmap(lambda size: st.text("0123456789abcdef", min_size=size, max_size=size))
)
def test_an_id_of_hex_digits_holds_no_secret_unless_it_is_the_number_of_a_card(text):
    assert text.isdigit() or list(DEFAULT.find(text)) == []
    assert DEFAULT.column("request_id", text) == ("[redacted]" if list(DEFAULT.find(text)) else text)


def test_a_column_that_was_open_before_hides_the_next_secret():
    values = ["shop", "shop", "4111111111111111", "password=hunter2", 4111111111111111, None, True, "shop"]
    shown = [DEFAULT.column("user_agent_of_test", value) for value in values]
    assert shown[:2] == ["shop", "shop"]
    assert shown[2] == shown[4] == "[redacted]"
    assert shown[3] == "password=[redacted]"
    assert shown[5:] == [None, True, "shop"]
