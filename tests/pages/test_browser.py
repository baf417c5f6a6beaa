"""The status page in a real Chromium, under a real server."""

import itertools
import threading
from dataclasses import replace
from http import HTTPStatus
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest
from flask import Flask
from tests.kits.browser import chromium
from tests.kits.overviews import outage, quiet

import hublog.flask
from hublog.flask import AppState
from hublog.pages import answers
from hublog.settings import EventHubSettings, Settings

HUB = "Endpoint=sb://127.0.0.1:1;SharedAccessKeyName=n;SharedAccessKey=k;UseDevelopmentEmulator=true"
TOKEN = "a-token-for-the-tests"


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")  # a page that was left may still ask for something
def served():
    """Serve the page over what it is given; yields its address."""
    served_now = [outage()]
    each_time = answers.Pages(lambda: served_now[0], now=itertools.count().__next__)
    app = Flask("shop")
    # Not by HubLog, whose threads would go on in the tests behind this one.
    hub = EventHubSettings(connection_string=HUB)
    app.extensions["hublog"] = AppState(replace(Settings(), status_token=TOKEN, eventhub=hub))
    app.register_blueprint(hublog.flask.status_pages(), url_prefix="/hublog")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(answers, "pages", each_time)
        with make_server("127.0.0.1", 0, app, handler_class=_Quiet) as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            try:
                yield f"http://127.0.0.1:{server.server_port}/hublog/status", served_now
            finally:
                server.shutdown()
                thread.join()


@pytest.mark.parametrize("is_dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("make", [outage, quiet])
def test_the_page_fits_and_nothing_complains(browser, served, width, is_dark, make):
    url, now = served
    now[0] = make()
    browser.open(url, width=width, is_dark=is_dark, headers={"Authorization": f"Bearer {TOKEN}"})
    assert browser.value("document.documentElement.scrollWidth") <= width
    assert browser.value("document.querySelectorAll('svg rect').length") > 100
    assert browser.value("document.styleSheets[0].cssRules.length") > 10, "the style sheet is loaded"
    dark = browser.value("getComputedStyle(document.body).backgroundColor")
    assert (dark == "rgb(18, 23, 29)") is is_dark
    complaints = [each for each in browser.complaints if "favicon" not in str(each)]
    assert complaints == []
    title = browser.value("document.querySelector('h1').textContent")
    assert title == ("Something needs attention" if make is outage else "Records arrive")


def test_without_the_token_there_is_no_page(browser, served):
    url, _ = served
    browser.open(url, width=390)
    assert browser.value("document.body.textContent").startswith("Not Found")
    assert str(HTTPStatus.NOT_FOUND.value) in str(browser.complaints)
