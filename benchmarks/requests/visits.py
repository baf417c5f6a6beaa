"""Requests as browsers and the application's own clients send them: no two alike."""

import io
import sys
from collections.abc import Iterator
from typing import Any, Final

from benchmarks.vocabulary import HOSTS, Draw

_ORDERS: Final = 5_000
_ADDRESSES: Final = 300
_LANGUAGES: Final = ("de-DE,de;q=0.9,en;q=0.8", "en-GB,en;q=0.9", "fr-FR,fr;q=0.9,en-US;q=0.6", "sv-SE")
#: Sent unchanged by each browser.
_BROWSER: Final = {
    "HTTP_ACCEPT": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
    "HTTP_ACCEPT_ENCODING": "gzip, deflate, br, zstd",
    "HTTP_CACHE_CONTROL": "max-age=0",
    "HTTP_CONNECTION": "keep-alive",
    "HTTP_DNT": "1",
    "HTTP_SEC_FETCH_DEST": "document",
    "HTTP_SEC_FETCH_MODE": "navigate",
    "HTTP_SEC_FETCH_SITE": "same-origin",
    "HTTP_SEC_FETCH_USER": "?1",
    "HTTP_UPGRADE_INSECURE_REQUESTS": "1",
}
_SERVER: Final[dict[str, object]] = {
    "REQUEST_METHOD": "GET",
    "SCRIPT_NAME": "",
    "SERVER_NAME": "shop.example.com",
    "SERVER_PORT": "80",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "wsgi.version": (1, 0),
    "wsgi.url_scheme": "http",
    "wsgi.errors": sys.stderr,
    "wsgi.multithread": True,
    "wsgi.multiprocess": True,
    "wsgi.run_once": False,
}


def environs(seed: int) -> Iterator[dict[str, Any]]:
    """Yield the WSGI environment of one request after the other: ``GET /orders/<id>``.

    Half of them have a request id, as a load balancer adds it, and every third has a ``traceparent``.
    """
    draw = Draw(seed)
    addresses = [draw.address() for _ in range(_ADDRESSES)]
    while True:
        order = draw.number(1, _ORDERS)
        environ: dict[str, Any] = {
            **_SERVER,
            **_BROWSER,
            "PATH_INFO": f"/orders/{order}",
            "QUERY_STRING": "page=2" if draw.random() < 0.2 else "",
            "REMOTE_ADDR": draw.choice(addresses),
            "REMOTE_PORT": str(draw.randint(32_768, 60_999)),
            "HTTP_HOST": draw.choice(HOSTS),
            "HTTP_USER_AGENT": draw.agent(),
            "HTTP_ACCEPT_LANGUAGE": draw.choice(_LANGUAGES),
            "HTTP_COOKIE": f"sessionid={draw.hex(16)}; csrftoken={draw.hex(16)}",
            "HTTP_REFERER": f"https://shop.example.com/orders?page={draw.number(1, 40)}",
            "wsgi.input": io.BytesIO(),
        }
        if draw.random() < 0.5:
            environ["HTTP_X_REQUEST_ID"] = draw.hex(16)
        if draw.random() < 0.33:
            environ["HTTP_TRACEPARENT"] = f"00-{draw.hex(16)}-{draw.hex(8)}-01"
        yield environ


def asgi_scope(environ: dict[str, Any]) -> dict[str, Any]:
    """Return the ASGI scope of the same request."""
    headers = [
        (name[5:].replace("_", "-").lower().encode(), value.encode())
        for name, value in environ.items()
        if name.startswith("HTTP_")
    ]
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": environ["REQUEST_METHOD"],
        "scheme": "http",
        "path": environ["PATH_INFO"],
        "raw_path": environ["PATH_INFO"].encode(),
        "query_string": environ["QUERY_STRING"].encode(),
        "root_path": "",
        "headers": headers,
        "client": (environ["REMOTE_ADDR"], int(environ["REMOTE_PORT"])),
        "server": (environ["SERVER_NAME"], 80),
        "state": {},
    }
