"""Texts as applications log them, that hold no secret although some speak of one."""

import hashlib
import json
import uuid
from collections.abc import Iterator
from typing import Final

_SEED: Final = "shop"


def _digest(number: int, name: str = "sha256") -> str:
    return hashlib.new(name, f"{_SEED}{number}".encode(), usedforsecurity=False).hexdigest()


def _uuid(number: int) -> str:
    return str(uuid.UUID(_digest(number)[:32]))


def _ids() -> Iterator[str]:
    for number in range(30):
        yield f"order {_uuid(number)} shipped"
        yield f"commit {_digest(number, 'sha1')} deployed to stage-{number}"
        yield f"trace_id={_digest(number)[:32]} span_id={_digest(number)[:16]} sampled=1"
        yield f'blob etag "0x{_digest(number)[:15].upper()}" digest sha256:{_digest(number)}'


_LINES: Final = """
GET /api/v1/orders/4711?page=2&sort=-created_at HTTP/1.1 200 512 0.012
POST /login HTTP/1.1 302 0 "https://shop.example.com/login?next=/cart" "Mozilla/5.0 (X11; Linux x86_64) Firefox/144.0"
127.0.0.1 - - [23/Nov/2026 13:10:31] "GET /static/js/main.4f3a9c1b.js HTTP/1.1" 304 -
user 42 logged in from 192.0.2.7 by password
password reset mail sent to kim@example.com
Password changed for user kim
The password must have at least 12 characters
invalid password for user kim (attempt 3 of 5)
password: at least one digit is needed
token refreshed, expires in 3600 s
access token expired at 2026-11-23T13:10:31Z
refreshing token for tenant 7c9e6679 took 120 ms
authorization failed: user kim lacks role admin
Authorization: granted by policy orders.read
authorization required for /admin
cookie consent: accepted
Cookies: disabled in this browser
cookie_domain=.example.com cookie_secure=True
session 8 closed after 30 s
csrf check passed for /checkout
api key rotated by kim, next rotation 2027-01-01
secret rotation finished: 3 rotated, 0 failed
no credentials found, trying managed identity
Basic authentication is disabled
using bearer authentication for host hub.example.com
token bucket: 20 of 100 left, refill 5/s
tokens_used=812 prompt_tokens=700 completion_tokens=112 max_tokens=4096
tokenizer loaded: cl100k_base, vocab 100277
primary key (id)=(7) violates constraint orders_pkey
DETAIL:  Key (email)=(kim@example.com) already exists.
foreign key order_id references orders(id)
hash join: 3 buckets, hash_key=user_id
partition_key=eu-west row_key=0001 sort_key=created_at
keyboard layout: de, monkey patching: off
deploy v1.4.2-rc.1+build.77 to eu-west-1a done
listening on 0.0.0.0:8080 (pid 4242)
connected to amqps://broker.example.com:5671/vhost as worker-3
connected to postgres://db.example.com:5432/shop?sslmode=require
redis://cache:6379/0 answered PING in 0.4 ms
ssh git@github.com:example/shop.git fetched 12 objects
pip install hublog==1.2.3 --no-deps -q
docker run -u 1000:1000 -p 8080:80 --rm shop:latest
tar -p -xzf archive.tar.gz -C /opt/shop
mkdir -p /var/lib/shop/spool
ps -u kim -o pid,cmd
cp -p a b && ls -la
mysql -u root -h db -P 3306 shop
mysqldump --single-transaction --host=db --user=backup shop
curl -sS -o /dev/null -w '%{http_code}' https://example.com/health
kubectl -n prod get pods -l app=shop -o wide
celery -A shop worker -l INFO -c 4 -Q default,mail
gunicorn shop.wsgi:application -b 0.0.0.0:8000 -w 4
manage.py migrate --plan --database default
task shop.tasks.send_mail[7c9e6679-7425-40de-944b-e07fc1f90ae7] succeeded in 0.51s: None
Retry in 8s: ConnectionRefusedError(111, 'Connection refused')
KeyError: 'token'
KeyError: 'password'
AttributeError: 'NoneType' object has no attribute 'password'
TypeError: login() missing 1 required positional argument: 'password'
ValueError: invalid literal for int() with base 10: 'abc'
json.decoder.JSONDecodeError: Expecting value: line 1 column 1 (char 0)
SyntaxError: unexpected token '}' at line 4
jwt.exceptions.ExpiredSignatureError: Signature has expired
ssl.SSLCertVerificationError: certificate verify failed: unable to get local issuer certificate
django.core.exceptions.ImproperlyConfigured: The SECRET_KEY setting must not be empty.
sqlalchemy.exc.OperationalError: (psycopg.OperationalError) connection timeout expired
PermissionError: [Errno 13] Permission denied: '/etc/shop/token.json'
File "/srv/shop/views/auth.py", line 88, in check_password
memory 412 MiB of 512 MiB, gc: collected=1204 uncollectable=0
cache hit ratio 0.93, evictions=12, keys=10234
p50=12.1 p95=80.4 p99=131.0 ms over 10000 requests
temperature=21.5 humidity=48 station=S-17
lat=52.520008 lon=13.404954 accuracy=5
price: 19.99 EUR, tax: 3.19, total: 23.18
invoice 2026-000123 paid by SEPA, reference RF18539007547034
IBAN check passed for order 12
phone +49 30 901820, fax +49 30 9018210
card ending in 4242 declined: insufficient_funds
isbn 978-3-16-148410-0 not in stock
2026-11-23 13:10:31,123 INFO shop.orders started
2026-11-23T13:10:31.123456Z ok
10.0.0.0/8 via 10.1.2.3 dev eth0
fe80::1ff:fe23:4567:890a reachable
MAC 00:1A:2B:3C:4D:5E joined
Content-Type: application/json; charset=utf-8
Accept: text/html,application/xhtml+xml;q=0.9,*/*;q=0.8
Cache-Control: no-store, max-age=0
X-Request-Id: 7c9e6679-7425-40de-944b-e07fc1f90ae7
traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
User-Agent: python-requests/2.34.2
Strict-Transport-Security: max-age=31536000; includeSubDomains
data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk
feature flags: new_checkout=on, old_tokens=off, passkeys=beta
passkey registered on device 3
compass heading=270 passengers=3 bypass=off
author=kim authority=court authored_at=2026-11-23
design_key_visual.png uploaded (1.2 MB)
sidecar ready: signal=9 assigned=kim
one-time job 7 started
pass 1 of 2 complete: 100 %
test session starts -- Python 3.13.1, pytest-9.0
3 passed, 1 failed, 2 skipped in 1.20s
"""

_PROSE: Final = """
Bestellung 4711 wurde am 23.11.2026 versandt, Lieferung voraussichtlich übermorgen.
Das Passwort muss mindestens zwölf Zeichen haben und darf nicht leer sein.
Anmeldung fehlgeschlagen: Benutzername oder Passwort falsch.
Der Schlüssel wurde erneuert; die alten Sitzungen bleiben gültig.
Zahlung abgelehnt: Karte abgelaufen. Bitte wählen Sie eine andere Zahlungsart.
Für den Kunden Müller (Nr. 12-345) liegt keine Rechnung vor – bitte prüfen!
Hinweis: Cookies helfen uns, unsere Dienste zu verbessern.
Straße: Hauptstraße 5, PLZ: 10115, Ort: Berlin
Die Sitzung läuft in 5 Minuten ab. Möchten Sie angemeldet bleiben?
Geheimnis: keines, wir veröffentlichen alles.
Le mot de passe doit contenir au moins huit caractères.
Connexion refusée : identifiant ou mot de passe incorrect.
La commande n° 4711 a été expédiée le 23 novembre.
Votre session a expiré ; veuillez vous reconnecter.
Adresse : 12, rue de l'Église, 75015 Paris
Paiement accepté, merci de votre confiance !
L'utilisateur « kim » n'a pas les droits nécessaires.
Jeton expiré, nouvelle tentative dans 5 s
El pedido ha sido enviado; llegará el martes.
Il pagamento è stato rifiutato dalla banca.
"""

_CODE: Final = (
    "SELECT id, email, password FROM users WHERE email = %s AND is_active = TRUE LIMIT 1",
    "SELECT token FROM sessions WHERE user_id = ? ORDER BY created_at DESC",
    "UPDATE users SET last_login = now(), password = $1 WHERE id = $2",
    "INSERT INTO orders (id, total, currency) VALUES (7, 19.99, 'EUR')",
    "INSERT INTO users (name, password) VALUES (?, ?)",
    "CREATE TABLE users (id integer primary key, password varchar(128) NOT NULL, token text)",
    "ALTER TABLE users ADD COLUMN token_hash bytea",
    "DELETE FROM carts WHERE updated_at < now() - interval '30 days'",
    "[SQL: SELECT orders.id AS orders_id FROM orders WHERE orders.state = ?]\n[parameters: ('paid',)]",
    "(0.002) SELECT 1 FROM auth_user WHERE username = 'kim'; args=('kim',); alias=default",
    "PipelineLogs | where timestamp > ago(1h) and level == 'ERROR' | summarize count() by logger_name",
    "PipelineLogs | extend user = tostring(extra.user) | where http_route startswith '/api' | take 50",
    "let t = datatable(key:string, value:long)['a', 1]; t | join kind=inner Orders on key",
    "def login(user: str, password: str) -> bool:",
    "password = getpass.getpass()",
    "token = request.headers.get('X-Token')",
    "if not check_password(password, user.password): raise AuthError",
    "return HttpResponse(status=403)",
    "const token = await getToken({ audience });",
    "for (const [key, value] of Object.entries(headers)) { out[key] = value; }",
    "assert response.cookies == {}",
    "os.environ['HOME'] + '/.cache'",
    "raise ValueError(f'no {name!r} in {sorted(known)}')",
    "<div class='card'><label for='password'>Password</label><input type='password' name='password'></div>",
    "usage: login [-h] [--user USER] [--password PASSWORD] host",
    "usage: shop <user> <password> [options]",
    "--password TEXT  Password of the database.  [required]",
    "{'name': 'kim', 'roles': ['admin', 'sales'], 'active': True, 'password': None}",
    '{"id": 7, "state": "paid", "items": [{"sku": "A-1", "n": 2}], "note": "bitte klingeln"}',
    '{"error": "invalid_grant", "error_description": "The token has expired."}',
    '{"type": "object", "properties": {"password": {"type": "string", "minLength": 8}}}',
    "1 validation error for Order\ntotal\n  Input should be a valid number "
    "[type=float_parsing, input_value='abc', input_type=str]",
    "1 validation error for Login\npassword\n  Field required [type=missing, input_value={'user': 'kim'}, "
    "input_type=dict]",
    'Traceback (most recent call last):\n  File "/srv/shop/auth.py", line 7, in login\n    check(user, password)\n'
    "PermissionError: not allowed",
    '--x\r\nContent-Disposition: form-data; name="note"\r\n\r\nhello\r\n--x--\r\n',
    "<order><id>7</id><note>bitte klingeln</note></order>",
    "<soap:Fault><faultcode>auth</faultcode><faultstring>token expired</faultstring></soap:Fault>",
    "\x1b[32minfo\x1b[0m order \x1b[36mid\x1b[0m=\x1b[35m7\x1b[0m state=paid",
    "Subject: Password reset\nTo: kim@example.com\nDate: Mon, 23 Nov 2026",
    "C:\\Program Files\\Shop\\tokens.db opened",
    "path=/srv/shop/keys/README.md size=812",
    "token_endpoint: https://login.example.com/oauth2/v2.0/token",
    "openid scope=openid profile email response_type=code client_id=shop-web",
    "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
    "<p>Das &quot;Passwort&quot; ist falsch &amp; die Sitzung abgelaufen.</p>",
    '{"html": "\\u003cb\\u003etoken\\u003c/b\\u003e", "path": "/a?b\\u003dc\\u0026d"}',
    "&lt;input name=&#39;password&#39; type=&#39;password&#39;&gt;",
    "{'value': 'blue', 'name': 'colour'} {'value': 3, 'key': 'token_count'}",
    '<input value="kim" name="user"><input value="" name="password">',
    "KeyError: ('token', 'name') in ('password', 'email')",
    "the machine learned to login; the default password policy holds",
    '<string name="app_title">Shop</string>',
    'variable "region" { default = "eu-west-1" }',
    "count: !!int 7",
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl kim@laptop",
)


def _structured() -> Iterator[str]:
    for number in range(20):
        yield json.dumps({"event": "order", "id": _uuid(number), "etag": _digest(number), "n": number})
        yield f"order_id={number} state=paid amount={number}.99 customer=C-{number:05d} took={number * 3}ms"
        yield f"GET https://api.example.com/v1/items/{_uuid(number)}?fields=id,name&limit={number} 200"
        yield f"s3://bucket/exports/2026/11/{number:02d}/part-{_digest(number)[:20]}.parquet written"


def ordinary() -> list[str]:
    """Return the texts, each once."""
    found = [*_ids(), *_LINES.strip().splitlines(), *_PROSE.strip().splitlines(), *_CODE, *_structured()]
    return list(dict.fromkeys(found))
