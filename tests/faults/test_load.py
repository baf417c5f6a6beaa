import http.server
import threading

import pytest
from tests.faults.load import Load


class Handler(http.server.BaseHTTPRequestHandler):
    """Fails the first attempt of each request in the way that the test asks for."""

    failing = "500"

    def do_GET(self):
        is_first = "-0&" in self.path
        if is_first and self.failing == "drop":
            self.connection.close()
            return
        self.send_response(500 if is_first and self.failing == "500" else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def port():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("failing", ["500", "drop"])
def test_only_an_answer_of_200_makes_records_accepted(port, failing, monkeypatch):
    monkeypatch.setattr(Handler, "failing", failing)
    load = Load(lambda: port, requests=6, connections=2, records=2).start()
    assert load.finish(30)
    assert load.answered == 6
    assert load.accepted == {f"r{number}-1.{record}" for number in range(6) for record in range(2)}
    assert load.uncertain == {f"r{number}-0.{record}" for number in range(6) for record in range(2)}


def test_a_load_ends_when_nobody_answers_any_more():
    load = Load(lambda: 9, requests=5, connections=2).start()
    assert not load.finish(0.2)
    assert (load.answered, load.accepted) == (0, set())
