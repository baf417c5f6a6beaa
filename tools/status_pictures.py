"""Draws the pictures of the status page, in a real Chromium. Run by `make status-pictures`."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final
from wsgiref.simple_server import make_server

from tests.kits.browser import chromium
from tests.kits.overviews import outage, quiet
from tools.dashboard_pictures import PICTURES

from hublog.cli.process_status import process_problems
from hublog.pages.status_page import STYLE, status_page

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIEnvironment

#: Name of the picture: what is shown, the width in pixels, and whether the page is dark.
_SHOWN: Final = {
    "status_1280": ("outage", 1280, False),
    "status_390": ("outage", 390, False),
    "status_dark": ("quiet", 1280, True),
}


def _app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    if environ["PATH_INFO"].endswith("status.css"):
        start_response("200 OK", [("Content-Type", "text/css")])
        return [STYLE.encode()]
    found = outage() if environ["PATH_INFO"] == "/outage" else quiet()
    start_response("200 OK", [("Content-Type", "text/html; charset=utf-8")])
    return [status_page(found, process_problems(found)).encode()]


def main() -> None:
    """Write docs/pictures/status_*.png."""
    with make_server("127.0.0.1", 0, _app) as server, chromium() as browser:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for name, (path, width, is_dark) in _SHOWN.items():
            browser.open(f"http://127.0.0.1:{server.server_port}/{path}", width=width, is_dark=is_dark)
            (PICTURES / f"{name}.png").write_bytes(browser.picture())
        server.shutdown()


if __name__ == "__main__":
    main()
