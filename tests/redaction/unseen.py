"""Families of leaks that were written before the rules and not looked at while these were made."""

import base64
import json
import pprint
from collections.abc import Iterator
from itertools import product
from typing import Final
from urllib.parse import quote

from tests.redaction.leaks import Family

FAMILIES: Final[list[Family]] = []
VALUES: Final = ("Sommer2031", "z9$kLm#4", "wachsen-laub7", "Ünter9weg", "V3ry.Long_Value~77")


def family(made: Family) -> Family:
    """Register a generator of texts and their secret."""
    FAMILIES.append(made)
    return made


@family
def other_schemes() -> Iterator[tuple[str, str]]:
    shapes = (
        "authorization: {}", "DEBUG:urllib3: header: Authorization: {}", "-H Authorization:\\ {}",
        'wget --header="Authorization: {}" https://x', "{{'authorization': b'{}'}}", "Authorization={}",
        "http GET x 'Authorization:{}'", "  Authorization: {}\n  Host: x",
    )  # fmt: skip
    schemes = (
        "Zoho-oauthtoken",
        "PVEAPIToken=kim@pam!t=",
        "GoogleLogin auth=",
        "Discogs token=",
        "Sso-key",
        "X9",
    )
    for number, (shape, scheme) in enumerate(product(shapes, schemes)):
        glue = "" if scheme.endswith("=") else " "
        value = VALUES[number % 3]
        yield shape.format(f"{scheme}{glue}{value}"), value


@family
def other_cookies() -> Iterator[tuple[str, str]]:
    shapes = (
        "response.cookies: Set-Cookie: tok={}; Max-Age=3\r\nSet-Cookie: b=c",
        'header Cookie: _ga=GA1.2; csrftoken="{}"',
        "RequestsCookieJar([Cookie(version=0, name='tok', value='{}', port=None)])",
        "curl 'https://x' -H 'cookie: a=1; sid={}' --compressed",
        '"Cookie": "a=1; sid={}",\n"Host": "x"',
        "set-cookie: __Host-id={}; Secure; SameSite=Lax",
    )
    for shape, value in product(shapes, VALUES):
        yield shape.format(value), value


@family
def configuration_files() -> Iterator[tuple[str, str]]:
    shapes = (
        "[database]\nuser = kim\npassword = {}\n",
        'password = "{}"  # of the database',
        "'password' => '{}',",
        "datasource.password={}\ndatasource.url=x",
        'variable "db_password" {{ default = "{}" }}',
        "db:\n  user: kim\n  password: {}\n  port: 5",
        "Data Source=db;User ID=kim;Pwd={};Encrypt=True",
        "password: !!str {}",
        "$env:DB_PASSWORD = '{}'",
        "set DB_PASSWORD={}",
        'mutation {{ login(user: "kim", password: "{}") {{ id }} }}',
        'user {{ name: "kim" password: "{}" }}',
        "machine db login kim password {}",
        'Environment="DB_PASSWORD={}"',
        "ENV API_TOKEN={}",
        "ENV API_TOKEN {}",
        "os.environ['API_TOKEN'] = '{}'",
        "requirepass {}",
        "spring.datasource.password = {}",
        "password:{}",
        "password ={}",
        "Password : {}",
        "the new password is '{}'",
    )  # fmt: skip
    for shape, value in product(shapes, VALUES[:3]):
        yield shape.format(value), value


@family
def other_commands() -> Iterator[tuple[str, str]]:
    shapes = (
        "mongosh mongodb://h/db -u kim -p {}",
        "sqlcmd -S db -U sa -P {} -Q x",
        "mysqladmin -uroot -p'{}' ping",
        "ldapsearch -x -D cn=kim -w {} -b dc=x",
        "7z x -p{} archive.7z",
        "http -a kim:{} GET x",
        "curl -sSL --proxy-user kim:{} https://x",
        "curl -ukim:{} https://x",
        "az login --service-principal -u id -p {} --tenant t",
        "helm registry login -u kim -p {} x",
        "PGPASSWORD={} psql -h db",
        "env API_KEY={} ./run.sh",
        "ansible-playbook x.yml -e ansible_password={}",
        "New-Login -Password {} -User kim",
        "openssl rsa -in k.pem -passin pass:{}",
        "smbclient //s/x -U kim%{}",
        "wget --password={} ftp://x",
        "vault login token={}",
        "gh auth login --with-token {}",
        "net use z: \\\\s\\x /user:kim /password:{}",
    )
    for number, shape in enumerate(shapes):
        value = VALUES[number % 3]
        yield shape.format(value), value
        yield repr(shape.format(value).split()), value


@family
def written_by_libraries() -> Iterator[tuple[str, str]]:
    for value in (*VALUES, 'ab"cd9efg', "it's9mine", "line9one\nline9two", "back\\9slash"):
        body = {"id": 7, "auth": {"client_secret": value, "list": ["a", {"api-key": value}]}, "ok": True}
        yield pprint.pformat(body, width=40), value
        yield json.dumps(body, indent=2, ensure_ascii=False), value
        yield (
            repr(json.dumps(body, ensure_ascii=False).encode("ascii", "ignore")),
            value.encode("ascii", "ignore").decode(),
        )
        yield json.dumps(repr(body), ensure_ascii=False), value
        yield f"payload={body!r} took 3 ms", value
        yield json.dumps({"log": json.dumps({"log": json.dumps(body, ensure_ascii=False)})}), value[1:]
        yield quote(json.dumps(body, ensure_ascii=False)), quote(value.partition("\n")[0])


@family
def xml_of_services() -> Iterator[tuple[str, str]]:
    for value in (*VALUES, "zwei Woerter9 drei", "a9a&b9bc<d9de"):
        inside = value.replace("&", "&amp;").replace("<", "&lt;")
        yield (
            f"<wsse:UsernameToken><wsse:Password Type='x#PasswordText'>{inside}</wsse:Password></wsse:UsernameToken>",
            value,
        )
        yield f'<connection user="kim" password="{inside}" host="x"/>', value
        yield f'<string name="api_key">{inside}</string>', value
        yield f"<clientSecret>\n    {inside}\n  </clientSecret>", value
        yield f"<add key='ApiSecret' value='{inside}' />", value


@family
def database_messages() -> Iterator[tuple[str, str]]:
    for value in (*VALUES, "it''s9mine"):
        yield (
            f"[SQL: INSERT INTO accounts (id, api_token, owner) VALUES (%s, %s, %s)]\n[parameters: (1, {value!r}, 'kim')]",
            value,
        )
        yield (
            f"INSERT INTO `users` (`login`, `password`, `age`) VALUES ('kim', '{value}', 7), ('al', '{value}', 8)",
            value,
        )
        yield f"[SQL: UPDATE t SET secret=%(secret)s]\n[parameters: {{'secret': {value!r}, 'id': 1}}]", value
        yield f"Execute: SELECT 1 FROM u WHERE passwd = '{value}' AND x = 1", value
        yield f"SET PASSWORD FOR 'kim'@'%' = '{value}'", value
        yield f"CREATE LOGIN kim WITH PASSWORD = '{value}'", value
        yield f"DETAIL:  Failing row contains (password)=({value}).", value


@family
def coloured() -> Iterator[tuple[str, str]]:
    for value in VALUES:
        yield f"\x1b[1m\x1b[34mclient_secret\x1b[39m\x1b[22m: \x1b[33m{value}\x1b[0m", value
        yield f'{{\x1b[94m"password"\x1b[39;49;00m: \x1b[33m"{value}"\x1b[39;49;00m}}', value
        yield f"\x1b[38;5;244mpass\x1b[0m\x1b[38;5;244mword\x1b[0m=\x1b[38;2;1;2;3m{value}\x1b[0m", value


@family
def models() -> Iterator[tuple[str, str]]:
    for value in VALUES[:3]:
        yield f"Login(user='kim', password='{value}', otp=None)", value
        yield (
            f"2 validation errors for Body\nuser\n  Field required [type=missing, input_value={{'password': '{value}'}}, input_type=dict]\n",
            value,
        )
        yield (
            f"1 validation error for B\nkeys.0.private_key\n  Bad [type=value_error, input_value='{value}', input_type=str]",
            value,
        )
        yield f"Row(id=1, password_hash='{value}')", value
        yield f"<User kim password={value}>", value
        yield f"KeyError: ('token', '{value}')" if False else f"ValueError: invalid token: '{value}'", value


@family
def encoded() -> Iterator[tuple[str, str]]:
    for value in VALUES[:3]:
        sign_in = base64.b64encode(f"kim:{value}".encode()).decode()
        yield f"Authorization: Basic {sign_in}", sign_in
        yield f"Basic {sign_in}", sign_in
        yield f"https://kim:{quote(value)}@host/x", quote(value)
        yield f"next=https%3A%2F%2Fkim%3A{quote(quote(value))}%40host", quote(quote(value))
        yield f"/cb#access_token={quote(value)}&state=1", quote(value)
        yield f"data: user=kim&password={quote(value)}", quote(value)
