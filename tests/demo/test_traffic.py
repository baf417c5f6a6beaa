import http.server
import itertools
import json
import re
import threading
from collections import Counter

import pytest
from demo.traffic import Load, send_all
from demo.visits import DJANGO_SHOP, FLASK_SHOP, Call


class Shop(http.server.BaseHTTPRequestHandler):
    """Answers everything with what its path says, and keeps what it was asked."""

    def do_GET(self):  # the name is http.server's
        self._answer()

    do_POST = do_GET  # noqa: N815  # the name is http.server's

    def _answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked.append((self.command, self.path, dict(self.headers), body))
        status = int(self.path.rpartition("/")[2]) if self.path.startswith("/status/") else 200
        self.send_response(status)
        self.send_header("Set-Cookie", "csrftoken=t0ken; Path=/")
        self.end_headers()
        self.wfile.write(json.dumps({"id": 7}).encode())

    def log_message(self, *args):
        pass


@pytest.fixture
def shop():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Shop) as server:
        server.asked = []
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def send(server, visits, requests, customers=1):
    exchanges = []
    load = Load(
        "shop", server.server_address[1], visits=(("acme", visit) for visit in visits), requests=requests
    )
    send_all([load], customers=customers, sent=exchanges.append)
    return exchanges


def visit(*calls):
    return (call for call in calls)


def test_exactly_the_given_number_of_requests_is_sent(shop):
    visits = (visit(Call("GET", "/a"), Call("GET", "/b"), Call("GET", "/c")) for _ in itertools.count())
    assert len(send(shop, visits, 50, customers=4)) == 50
    assert len(shop.asked) == 50


def test_each_request_has_a_traceparent_of_its_own(shop):
    exchanges = send(shop, (visit(Call("GET", "/")) for _ in itertools.count()), 5)
    sent = [headers["traceparent"] for _, _, headers, _ in shop.asked]
    assert all(re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", each) for each in sent)
    assert {each.split("-")[1] for each in sent} == {each.trace_id for each in exchanges}
    assert len(set(sent)) == 5


def test_cookies_and_csrf_token_come_back_within_a_visit_only(shop):
    visits = iter([visit(Call("GET", "/"), Call("POST", "/", {"a": 1})), visit(Call("GET", "/next"))])
    send(shop, visits, 3)
    cookies = [(headers.get("Cookie"), headers.get("X-CSRFToken")) for _, _, headers, _ in shop.asked]
    assert cookies == [(None, None), ("csrftoken=t0ken", "t0ken"), (None, None)]


def test_a_visit_gets_the_answer_to_each_call(shop):
    def buy():
        order = yield Call("POST", "/orders", {"sku": "tea"})
        yield Call("GET", f"/orders/{order['id']}")

    send(shop, iter([buy()]), 2)
    assert [(method, path) for method, path, _, _ in shop.asked] == [
        ("POST", "/orders"),
        ("GET", "/orders/7"),
    ]


def test_a_visit_ends_at_a_wrong_answer(shop):
    visits = iter([visit(Call("GET", "/status/500"), Call("GET", "/never")), visit(Call("GET", "/next"))])
    exchanges = send(shop, visits, 2)
    assert [(each.path, each.status, each.expected) for each in exchanges] == [
        ("/status/500", 500, 200),
        ("/next", 200, 200),
    ]


def test_no_answer_is_status_0_with_its_reason():
    with http.server.HTTPServer(("127.0.0.1", 0), Shop) as closed:
        pass
    (exchange,) = send(closed, iter([visit(Call("GET", "/"))]), 1)
    assert (exchange.status, exchange.detail.partition(":")[0]) == (0, "ConnectionRefusedError")


def test_an_error_in_a_visit_is_raised(shop):
    def broken():
        yield Call("GET", "/")
        raise ValueError("broken visit")

    with pytest.raises(ValueError, match="broken visit"):
        send(shop, iter([broken()]), 5)


@pytest.mark.parametrize("shop", [FLASK_SHOP, DJANGO_SHOP], ids=["flask", "django"])
def test_a_share_of_the_demo_has_exceptions_and_slow_reports(shop):
    statuses, reports, left = Counter(), 0, 160
    for _tenant, each in shop.visits("secret"):
        call = next(each)
        try:
            while left:
                left -= 1
                statuses[call.status] += 1
                reports += call.path == shop.report
                call = each.send({"id": 1})
        except StopIteration:
            continue
        break
    assert statuses[500] >= 5
    assert reports >= 3
