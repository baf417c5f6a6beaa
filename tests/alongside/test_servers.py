"""gunicorn and uvicorn as processes of their own, set up as the documents say."""

import json
import re
import signal
from http.client import HTTPConnection
from pathlib import Path

import pytest
from tests.alongside.documents import block
from tests.kits.file_hub import HERE, Program

PROGRAMS = Path(__file__).parent / "programs"
ENVIRON = {
    "EVENTHUB_FULLY_QUALIFIED_NAMESPACE": "shop.servicebus.windows.net",
    "EVENTHUB_LOG_SPOOL": "memory",
    "FILE_LOGGING_ENABLED": "false",
    "LOG_TO_STDOUT": "false",
    "PYTHONPATH": f"{HERE}:{PROGRAMS}",
}


class Served:
    """A server, asked once and ended."""

    def __init__(self, folder, *command, port, **environ):
        with Program(folder, *command, **{**ENVIRON, **environ}) as program:
            program.wait_for(port)
            number = re.search(rf"{port}127\.0\.0\.1:(\d+)", program.text())[1]
            connection = HTTPConnection("127.0.0.1", int(number), timeout=20)
            connection.request("GET", "/?a=1")
            self.status = connection.getresponse().status
            connection.close()
            program.end(signal.SIGTERM)
            self.output = program.text()
        self.rows = [json.loads(line) for line in (folder / "arrived").read_text().splitlines()]

    def of(self, name):
        return [row["message"] for row in self.rows if row["logger_name"] == name]


def gunicorn(folder, config, **environ):
    (folder / "gunicorn.conf.py").write_text(f"import served\n{config}")
    options = ("--bind", "127.0.0.1:0", "--workers", "1", "--no-control-socket", "served:create_app()")
    return Served(folder, "-m", "gunicorn", *options, port="Listening at: http://", **environ)


def test_gunicorns_own_records_arrive_and_its_access_lines_do_not_double_ours(tmp_path):
    served = gunicorn(tmp_path, block("python", "gunicorn.conf.py"))
    assert served.status == 200
    own = served.of("gunicorn.error")
    assert sum("Listening at" in message for message in own) == 1
    assert sum("Booting worker" in message for message in own) == 1
    assert (len(served.of("hublog.request")), served.of("gunicorn.access")) == (1, [])
    assert served.of("shop") == ["order"]
    assert served.output.count("Listening at") == 1
    assert {row["framework"] for row in served.rows if row["logger_name"] == "hublog.request"} == {"flask"}


def test_gunicorns_access_lines_may_take_the_place_of_our_request_record(tmp_path):
    config = block("python", "gunicorn.conf.py").replace(
        '"loggers": {', '"loggers": {"gunicorn.access": {"level": "INFO", "handlers": ["eventhub"]}, '
    )
    served = gunicorn(tmp_path, config, LOG_ACCESS_RECORDS="false")
    [line] = served.of("gunicorn.access")
    assert '"GET /?a=1 HTTP/1.1" 200' in line
    assert served.of("hublog.request") == []


@pytest.mark.parametrize("access", [False, True], ids=["without access lines", "with access lines"])
def test_uvicorns_own_records_arrive(access, tmp_path):
    (tmp_path / "uvicorn.json").write_text(block("json", '"uvicorn": {'))
    options = ["--host", "127.0.0.1", "--port", "0", "--log-config", "uvicorn.json"]
    options += [] if access else ["--no-access-log"]
    start = f"import served, uvicorn; uvicorn.main({[*options, 'served:asgi']!r})"
    served = Served(tmp_path, "-c", start, port="running on http://")
    assert served.status == 200
    assert "Application startup complete." in served.of("uvicorn.error")
    assert served.of("shop") == ["order"]
    assert len(served.of("hublog.request")) == 1
    lines = served.of("uvicorn.access")
    assert len(lines) == int(access)
    assert all("GET /?a=1 HTTP/1.1" in line for line in lines)
    assert not any("color_message" in row.get("extra", {}) for row in served.rows)
    assert served.output.count("Application startup complete.") == 1


def test_hypercorns_own_records_arrive(tmp_path):
    config = block("json", '"uvicorn": {').replace('"uvicorn"', '"hypercorn.error"')
    (tmp_path / "hypercorn.json").write_text(config)
    options = [
        "--bind",
        "127.0.0.1:0",
        "--workers",
        "0",
        "--log-config",
        "json:hypercorn.json",
        "served:asgi",
    ]
    start = f"import served; from hypercorn.__main__ import main; main({options!r})"
    served = Served(tmp_path, "-c", start, port="Running on http://")
    assert served.status == 200
    assert [text.startswith("Running on http://") for text in served.of("hypercorn.error")][-1:] == [True]
    assert (served.of("shop"), len(served.of("hublog.request"))) == (["order"], 1)
    assert served.of("hypercorn.access") == []
    assert served.output.count("Running on http://") == 1
