"""What goes wrong in the shop: exceptions really raised, through modules that exist only here.

Each module is compiled under the path it would have on a server, so tracebacks are as deep and as long
as in life and name no place of this machine.
"""

import linecache
from collections.abc import Callable
from textwrap import dedent
from typing import Any, Final

APP: Final = "/srv/app/"
SITE: Final = "/srv/venv/lib/python3.13/site-packages/"

#: Path, dotted name, number of the first line, source. Later ones see the names of earlier ones.
_MODULES: Final = (
    (
        f"{SITE}urllib3/connection.py",
        "urllib3.exceptions",
        198,
        """
        class ConnectTimeoutError(Exception): pass
        class ReadTimeoutError(Exception): pass
        class SSLError(Exception): pass
        def connect(host, kind):
            if kind == "refused":
                raise ConnectionRefusedError(111, "Connection refused")
            if kind == "tls":
                raise SSLError(f"certificate verify failed: Hostname mismatch, not valid for {host!r}")
            if kind == "read":
                raise ReadTimeoutError(f"HTTPSConnectionPool(host={host!r}, port=443): Read timed out.")
            raise ConnectTimeoutError(f"Connection to {host} timed out. (connect timeout=3.05)")
        """,
    ),
    (
        f"{SITE}urllib3/connectionpool.py",
        "urllib3.connectionpool",
        466,
        """
        def make_request(host, kind):
            connection = host
            return connect(connection, kind)
        def urlopen(host, kind, retries=0):
            response = make_request(host, kind)
            return response
        """,
    ),
    (
        f"{SITE}requests/adapters.py",
        "requests.exceptions",
        644,
        """
        class ConnectionError(OSError): pass
        class Timeout(ConnectionError): pass
        def send(host, url, kind):
            try:
                return urlopen(host, kind)
            except (ConnectTimeoutError, ReadTimeoutError) as error:
                raise Timeout(f"{type(error).__name__} at {url}") from error
            except Exception as error:
                raise ConnectionError(f"('Connection aborted.', {error!r})")
        """,
    ),
    (
        f"{SITE}psycopg/cursor.py",
        "psycopg.errors",
        97,
        """
        class UniqueViolation(Exception): pass
        class DeadlockDetected(Exception): pass
        class QueryCanceled(Exception): pass
        def execute(query, problem):
            for row in [query]:
                raise problem
        """,
    ),
    (
        f"{SITE}django/db/backends/utils.py",
        "django.db.utils",
        79,
        """
        class IntegrityError(Exception): pass
        class OperationalError(Exception): pass
        def run(sql, problem):
            try:
                return execute(sql, problem)
            except UniqueViolation as error:
                raise IntegrityError(str(error)) from error
            except (DeadlockDetected, QueryCanceled) as error:
                raise OperationalError(str(error)) from error
        def execute_with_wrappers(sql, problem, many=False):
            return run(sql, problem)
        """,
    ),
    (
        f"{SITE}django/db/models/query.py",
        "django.db.models.query",
        663,
        """
        def create(table, problem):
            sql = f'INSERT INTO "{table}" VALUES (%s) RETURNING "{table}"."id"'
            return execute_with_wrappers(sql, problem)
        def save(table, problem):
            return create(table, problem)
        def fetch_all(table, problem):
            return execute_with_wrappers(f'SELECT * FROM "{table}"', problem)
        """,
    ),
    (
        f"{APP}shop/payments/gateway.py",
        "shop.payments.gateway",
        57,
        """
        class PaymentError(Exception): pass
        class PaymentDeclinedError(PaymentError): pass
        class ProviderUnavailableError(PaymentError): pass
        def call(provider, path, kind):
            url = f"https://{provider}{path}"
            return send(provider, url, kind)
        def authorise(provider, order, kind):
            try:
                answer = call(provider, f"/v2/payments/{order}/authorise", kind)
            except OSError as error:
                raise ProviderUnavailableError(f"no answer for order {order} from {provider}") from error
            return answer["id"]
        def capture(answer, order):
            if answer["status"] != "captured":
                raise PaymentDeclinedError(f"order {order}: {answer['status']} ({answer['reason']})")
            return answer
        """,
    ),
    (
        f"{APP}shop/pricing/rules.py",
        "shop.pricing.rules",
        31,
        """
        def discount(rule, amount):
            return amount / rule["base"] * rule["percent"]
        def apply(rules, amount):
            for rule in rules:
                amount -= discount(rule, amount)
            return amount
        def total(cart, rules):
            amount = sum(item["price"] for item in cart)
            return apply(rules, amount)
        """,
    ),
    (
        f"{APP}shop/catalog/tree.py",
        "shop.catalog.tree",
        112,
        """
        def walk(node, depth):
            if depth == 0:
                return node["children"][0]["title"]
            return walk(node, depth - 1)
        def render(category, depth):
            return walk(category, depth)
        """,
    ),
    (
        f"{APP}shop/imports/feed.py",
        "shop.imports.feed",
        24,
        """
        class FeedError(ValueError): pass
        def decode(raw):
            return raw.decode("utf-8")
        def price(text):
            return int(text.replace(",", ""))
        def row(fields):
            return {"sku": fields[0], "price": price(fields[1]), "stock": int(fields[2])}
        def read(raw, number):
            try:
                return row(decode(raw).split(";"))
            except (ValueError, IndexError) as error:
                raise FeedError(f"row {number} of the feed cannot be read") from error
        """,
    ),
    (
        f"{APP}shop/account/profile.py",
        "shop.account.profile",
        76,
        """
        def address(customer):
            return customer["addresses"][customer["default"]]
        def greet(customer):
            return address(customer)["name"].strip().title()
        """,
    ),
    (
        f"{SITE}django/core/handlers/base.py",
        "django.core.handlers.base",
        181,
        """
        def _get_response(view):
            response = view()
            return response
        """,
    ),
    (
        f"{SITE}django/utils/deprecation.py",
        "django.utils.deprecation",
        114,
        """
        def __call__(view, layers):
            response = inner(view, layers)
            return response
        """,
    ),
    (
        f"{SITE}django/core/handlers/exception.py",
        "django.core.handlers.exception",
        42,
        """
        def inner(view, layers):
            middleware = __call__ if layers else None
            if middleware:
                return middleware(view, layers - 1)
            return _get_response(view)
        """,
    ),
    (
        f"{SITE}celery/app/trace.py",
        "celery.app.trace",
        468,
        """
        def protected_call(fun):
            return fun()
        def trace_task(fun):
            return protected_call(fun)
        """,
    ),
)

_names: Final[dict[str, Any]] = {}


def _load() -> None:
    for path, dotted, first, text in _MODULES:
        source = "\n" * (first - 1) + dedent(text).lstrip("\n")
        linecache.cache[path] = (len(source), None, source.splitlines(keepends=True), path)
        _names["__name__"] = dotted
        exec(compile(source, path, "exec"), _names)  # noqa: S102  # the texts above, to have real frames


_load()


def raised(work: Callable[[], object], *, caller: str = "", layers: int = 0) -> BaseException:
    """Do what fails and return the exception with its traceback.

    Args:
        work: calls ``shop`` for what goes wrong.
        caller: ``inner`` for a request, ``trace_task`` for a task; empty for the application alone.
        layers: middlewares around a request.
    """
    try:
        if caller:
            _names[caller](work, layers) if caller == "inner" else _names[caller](work)
        else:
            work()
    except Exception as error:  # noqa: BLE001  # of whatever kind: it is what was asked for
        return without_own_frames(error)
    raise AssertionError("The work did not fail; it must raise an exception.")


def without_own_frames(error: BaseException) -> BaseException:
    """Take the frames of this benchmark out of a traceback: at its beginning, and those of the lambdas."""
    traceback = error.__traceback__
    kept = []
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename.startswith("/srv/"):
            kept.append(traceback)
        traceback = traceback.tb_next
    for one, after in zip(kept, [*kept[1:], None], strict=True):
        one.tb_next = after
    return error.with_traceback(kept[0] if kept else None)


def shop(name: str) -> Callable[..., Any]:
    """Return a function or class of the invented modules.

    Raises:
        KeyError: there is none of that name.
    """
    found: Callable[..., Any] = _names[name]
    return found
