"""Texts that hold secrets, made by families: a shape, filled with values that have little in common.

A text is searched for the parts of its secrets: each run of three or more letters and digits counts, so that
half a secret is one, too.
"""

import json
import random
import re
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import quote, quote_plus, urlencode
from xml.sax.saxutils import escape

#: Digits alone may be those of a time.
_PART: Final = re.compile(r"(?![0-9]{1,5}(?![^\W_]))[^\W_]{3,}")

#: Without a blank or quotation mark, as a shell or a header takes them.
WORDS: Final = ("hunter2", "Tr0ub4dor&3", "x7!Qrs9", "zwölf8köpfe", "p4ss/w0rd+abc==", "qwe-rtz_uio9")
#: What else people choose.
ODD: Final = (
    "korrekt Pferd9 klammer",
    'quo"te9x',
    "apo'strophe8",
    "back\\slash9",
    "{brace7x}tail8",
    "com,ma8x; end9",
)


class Leak(NamedTuple):
    """A text with secrets.

    Attributes:
        family: what is tried.
        text: as an application would log it.
        secrets: what must not be seen of it.
    """

    family: str
    text: str
    secrets: tuple[str, ...]

    def parts(self) -> list[str]:
        """Return what of the secrets would be seen."""
        return [part for secret in self.secrets for part in _PART.findall(secret)]


Family = Callable[[], Iterator[tuple[str, str]]]
FAMILIES: Final[list[Family]] = []


def family(made: Family) -> Family:
    """Register a generator of texts and their secret."""
    FAMILIES.append(made)
    return made


def leaks(families: list[Family]) -> list[Leak]:
    """Return the texts of all families, each once."""
    found = {
        (made.__name__, text): Leak(made.__name__, text, (secret,))
        for made in families
        for text, secret in made()
    }
    return list(found.values())


HEADERS: Final = (
    "Authorization: {}",
    "proxy-authorization: {}",
    "> Authorization: {}\n> Accept: */*",
    "curl -s -H 'Authorization: {}' https://api.example.com/v1",
    'curl -H "Authorization: {}" -H "Accept: */*" https://api.example.com',
    "send: b'GET / HTTP/1.1\\r\\nHost: x\\r\\nAuthorization: {}\\r\\nAccept: */*\\r\\n\\r\\n'",
    "request headers: {{'Accept': '*/*', 'Authorization': '{}'}}",
    "[('host', 'x'), ('authorization', '{}')]",
    '{{"headers": {{"Authorization": "{}"}}, "status": 401}}',
)
SCHEMES: Final = (
    "Splunk", "SSWS", "Bot", "Api-Token", "GenieKey", "Token", "Bearer", "BEARER", "apikey", "Klaviyo-API-Key",
    "Negotiate", "Custom1",
)  # fmt: skip


@family
def authorization() -> Iterator[tuple[str, str]]:
    for number, (shape, scheme) in enumerate(product(HEADERS, SCHEMES)):
        secret = WORDS[number % 3]
        yield shape.format(f"{scheme} {secret}"), secret


@family
def authorization_of_several_parts() -> Iterator[tuple[str, str]]:
    for shape in HEADERS[:3]:
        yield shape.format('Token token="hunter2hunter", email="kim9@x.y"'), "hunter2hunter"
        yield shape.format('MAC id="kim9", nonce="1:a", mac="hunter2+mac="'), "hunter2+mac"
        yield shape.format("Bearer\thunter2.abc-dev"), "hunter2.abc-dev"
        yield shape.format("VOLC1 Credential=AK9/x, Signature=hunter2sig"), "hunter2sig"
        yield shape.format("hunter2-all-alone"), "hunter2-all-alone"


COOKIES: Final = (
    'Set-Cookie: remember="{}"; Path=/; HttpOnly',
    'Cookie: theme="dark"; rememberme={}',
    'Cookie: theme="dark"; rememberme="{}"; lang=de',
    "<SimpleCookie: remember='{}' theme='dark'>",
    "set-cookie: id={}; Domain=x; Path=/\r\nDate: today",
    "curl -b 'Cookie: a=\"b\"; id={}' https://x",
    "send: b'GET / HTTP/1.1\\r\\nCookie: a=\"b\"; id={}\\r\\nHost: x\\r\\n\\r\\n'",
    '{{"cookie": "a=b; id={}"}}',
    "cookies={{'a': 'b', 'id': '{}'}}",
)


@family
def cookies() -> Iterator[tuple[str, str]]:
    for shape, secret in product(COOKIES, ("a=b/hunter2==", "hunter2", "kim9:1a2b3c:Zx-y_9")):
        yield shape.format(secret), secret


NAMES: Final = (
    "LOG_REDACTION_HASH_KEY", "DB_PASSWORD", "SECRET_KEY", "FERNET_KEY", "REDIS_PASSWORD", "STRIPE_API_KEY",
    "smtp_pass", "clientSecret", "AccountKey", "refresh_token", "HASH_KEY", "keystorePassword",
    "EVENTHUB_CONNECTION_STRING", "Datadog_App_Key", "MAILCHIMP_KEY",
)  # fmt: skip
DUMPS: Final = (
    "{name}={value}",
    "environ: PATH=/bin {name}={value} HOME=/root",
    "environ({{'PATH': '/bin', '{name}': '{value}'}})",
    "<Config {{'DEBUG': False, '{name}': '{value}'}}>",
    "Settings(debug=False, {name}='{value}', port=1)",
    "export {name}='{value}'",
    "{name}: {value}",
    '{{"env": [{{"name": "{name}", "value": "{value}"}}]}}',
    "-e {name}={value} --rm image",
)


@family
def dumps() -> Iterator[tuple[str, str]]:
    for number, (shape, name) in enumerate(product(DUMPS, NAMES)):
        value = WORDS[number % 4]
        yield shape.format(name=name, value=value), value


COMMANDS: Final = (
    "mysqldump --pwd {} shop",
    "running mysql -u root -p{} shop",
    "mysqldump --host=db -uroot -p{} shop",
    "curl -u kim9:{} https://x",
    "curl --user kim9:{} -X POST https://x",
    "sshpass -p {} ssh root@db",
    "sshpass -p{} scp a b:c",
    "redis-cli -h cache -a {} PING",
    "keytool -list -storepass {} -alias x",
    "java -Ddb.password={} -jar shop.jar",
    "docker login -u kim -p {} registry.example.com",
    "/usr/bin/psql --password {} shop",
)


@family
def command_lines() -> Iterator[tuple[str, str]]:
    for number, shape in enumerate(COMMANDS):
        for secret in (WORDS[0], WORDS[2], WORDS[(number % 2) + 4]):
            yield shape.format(secret), secret


@family
def command_lists() -> Iterator[tuple[str, str]]:
    for number, shape in enumerate(COMMANDS):
        secret = WORDS[number % 3]
        argv = shape.removeprefix("running ").format(secret).split()
        yield f"Command '{argv}' returned non-zero exit status 1.", secret
        yield f"run {json.dumps(argv)} failed", secret
        yield f"args={tuple(argv)!r}", secret


@family
def short() -> Iterator[tuple[str, str]]:
    for name, value in product(("cvv", "otp", "pw", "pwd", "cvc"), ("7q9", "9x7")):
        yield f"{name}={value}", value
        yield f"{name}:{value}", value


@family
def forms() -> Iterator[tuple[str, str]]:
    for secret, name in product(
        (*WORDS, "korrekt Pferd9 klammer"), ("password", "api_key", "csrfmiddlewaretoken")
    ):
        part = f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{secret}\r\n--x--\r\n'
        yield part, secret
        yield repr(part.encode("ascii", "ignore")), secret.encode("ascii", "ignore").decode()
        yield json.dumps({"body": part}, ensure_ascii=False), secret
        yield f"POST /login {urlencode({'user': 'kim', name: secret})}", quote_plus(secret)


@family
def nested() -> Iterator[tuple[str, str]]:
    for secret, name in product((*WORDS, *ODD), ("password", "clientSecret", "api_key")):
        body = {"user": "kim", name: secret, "n": 1}
        text = json.dumps(body, ensure_ascii=False)
        yield text, secret
        yield repr(body), secret
        yield repr(text), secret
        yield json.dumps({"body": text}, ensure_ascii=False), secret
        yield repr({"body": text, "headers": [("a", "b")]}), secret
        yield json.dumps([json.dumps({"body": text}, ensure_ascii=False)], ensure_ascii=False), secret


@family
def bare_values() -> Iterator[tuple[str, str]]:
    for secret in (
        "{ab9}cd7xyz",
        "(hun9ter",
        "[x9y]zzz7",
        "<ab9c",
        "a9b>c7d",
        "pa$$w0rd9",
        "99%s9abc",
        "#hash9tag",
    ):
        for shape in (
            "password={}",
            "login with password={} failed",
            "password: {}",
            "db_password={} user=kim",
        ):
            yield shape.format(secret), secret


@family
def xml() -> Iterator[tuple[str, str]]:
    for secret in (*WORDS, *ODD):
        inside = escape(secret)
        yield f"<login><user>kim</user><password>{inside}</password></login>", secret
        yield f'<ns:Password Type="text">{inside}</ns:Password><a>b</a>', secret
        yield f"<apiKey><![CDATA[{secret}]]></apiKey>", secret


@family
def colours() -> Iterator[tuple[str, str]]:
    for secret in WORDS[:4]:
        yield (
            f"\x1b[36mpassword\x1b[0m=\x1b[35m{secret}\x1b[0m \x1b[36muser\x1b[0m=\x1b[35mkim\x1b[0m",
            secret,
        )
        yield (
            f"\x1b[2m2026\x1b[0m [\x1b[32minfo\x1b[0m] in \x1b[36mtoken\x1b[0m=\x1b[35m'{secret}'\x1b[0m",
            secret,
        )
        yield repr(f"\x1b[36mapi_key\x1b[0m=\x1b[35m{secret}\x1b[0m"), secret
        yield f"\x1b[1mAuthorization\x1b[0m: \x1b[33mSplunk\x1b[0m \x1b[33m{secret}\x1b[0m", secret


@family
def urls() -> Iterator[tuple[str, str]]:
    for secret in ("hunter2", "x7!Qrs9", "zwölf8köpfe"):
        for scheme in ("postgres", "redis", "amqps", "mongodb+srv", "https"):
            yield f"cannot reach {scheme}://kim:{secret}@db.example.com:5/x", secret
        yield f"GET /reset?token={quote(secret)}&next=/ 200", quote(secret)
        yield f"jdbc:mysql://db/shop?user=kim&password={secret}", secret


@family
def validation() -> Iterator[tuple[str, str]]:
    for place, secret in product(("password", "user.password", "accounts.0.apiKey", "token"), WORDS[:3]):
        yield (
            f"1 validation error for Login\n{place}\n  String should have at least 9 characters "
            f"[type=string_too_short, input_value={secret!r}, input_type=str]\n    For further information",
            secret,
        )


@family
def statements() -> Iterator[tuple[str, str]]:
    insert = "INSERT INTO users (name, password) VALUES (?, ?)"
    for secret in (*WORDS[:3], "apo'strophe8", "korrekt Pferd9 klammer"):
        literal = secret.replace("'", "''")
        yield f"(IntegrityError) x\n[SQL: {insert}]\n[parameters: {('kim', secret)!r}]\n(Background)", secret
        yield f"[SQL: {insert}]\n[parameters: {[('al', 'x'), ('kim', secret)]!r}]", secret
        yield f"[SQL: update users set password=? where name=?]\n[parameters: {(secret, 'kim')!r}]", secret
        yield (
            f"[SQL: SELECT * FROM users WHERE name = %s AND api_key IN (%s)]\n[parameters: {('k', secret)!r}]",
            secret,
        )
        yield (
            f'(0.001) UPDATE "users" SET "password" = \'{literal}\'; args=({secret!r}, 1); alias=default',
            secret,
        )
        yield f"INSERT INTO users (name, password) VALUES ('kim', '{literal}')", secret
        yield f"CREATE USER 'kim' IDENTIFIED BY '{literal}'", secret
        yield f"ALTER ROLE kim WITH PASSWORD '{literal}'", secret


ESCAPED_SHAPES: Final = (
    r'{{"url": "/login?password\u003d{}\u0026user\u003dkim"}}',
    r'"{{\u0022password\u0022:\u0022{}\u0022}}"',
    r"\u003cpassword\u003e{}\u003c/password\u003e",
    "password&#61;{}&amp;user=kim",
    "<pre>{{&quot;password&quot;: &quot;{}&quot;, &quot;n&quot;: 1}}</pre>",
    "{{&#x27;api_key&#x27;: &#x27;{}&#x27;}}",
    "{{&#34;token&#34;:&#34;{}&#34;}}",
    "&lt;clientSecret&gt;{}&lt;/clientSecret&gt;",
)


@family
def escaped_for_json_or_html() -> Iterator[tuple[str, str]]:
    for shape, secret in product(ESCAPED_SHAPES, ("hunter2", "x7!Qrs9", "qwe-rtz_uio9")):
        yield shape.format(secret), secret


@family
def value_before_its_name() -> Iterator[tuple[str, str]]:
    for name, secret in product(("password", "DB_TOKEN", "x-api-key"), (*WORDS, "korrekt Pferd9 klammer")):
        item = {"value": secret, "name": name}
        yield json.dumps({"env": [{"value": "eu", "name": "REGION"}, item]}, ensure_ascii=False), secret
        yield repr(item), secret
        yield json.dumps({"body": json.dumps(item, ensure_ascii=False)}, ensure_ascii=False), secret
        yield f'<input type="text" value="{escape(secret)}" name="{name}">', secret
        yield f"[{{'Value': '{secret}', 'Key': '{name}'}}]", secret


@family
def a_pair_alone() -> Iterator[tuple[str, str]]:
    for name, secret in product(("password", "api_key", "token"), WORDS):
        yield f"KeyError: {(name, secret)!r}", secret
        yield f"{(name, secret)!r}", secret


@family
def netrc() -> Iterator[tuple[str, str]]:
    for secret in WORDS:
        yield f"machine db.example.com login kim password {secret}", secret
        yield f"machine db\n  login kim\n  password {secret}\nmachine b login al password x7y7z", secret
        yield f"default login anonymous account 7 password {secret}", secret


@family
def names_without_a_common_stem() -> Iterator[tuple[str, str]]:
    for name, secret in product(("Kennwort", "mnemonic", "psw", "recovery_phrase"), WORDS[:3]):
        yield f"{name}={secret}", secret


_ALPHABETS: Final = {
    "a": "abcdefghijklmnopqrstuvwxyz0123456789",
    "h": "0123456789abcdef",
    "A": "ABCDEFGHJKLMNPQRSTUVWXYZ234567",
}


def drawn(seed: str, shape: str) -> str:
    """Return a text of a shape: ``{h32}`` are 32 hex digits, ``a`` letters and digits, ``A`` capitals."""
    chance = random.Random(seed)  # noqa: S311  # a corpus, the same in each run
    return re.sub(
        r"\{([ahA])(\d+)\}",
        lambda found: "".join(chance.choice(_ALPHABETS[found[1]]) for _ in range(int(found[2]))),
        shape,
    )


def tokens_of(file: str) -> list[str]:
    """Return the shapes of tokens in a file of this folder."""
    lines = Path(__file__).with_name(file).read_text("utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


@family
def tokens() -> Iterator[tuple[str, str]]:
    for number, shape in enumerate(tokens_of("token_shapes.txt")):
        token = drawn(shape, shape)
        place = ("using {} now", "{}", "failed for '{}': 401", "https://x.example.com/a/{}/b", "a={}")[
            number % 5
        ]
        yield place.format(token), token
