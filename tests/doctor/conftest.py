"""Runs of the doctor against a local hub with the faults that a test asks for."""

import gc
import io
import warnings
from functools import partial

import pytest
from tests.senders.conftest import certificate, wire  # noqa: F401  # fixtures

from hublog.cli.commands import check_spool_content
from hublog.doctor.diagnosis import DoctorInput, diagnose
from hublog.doctor.steps import TimeBudget, write_json, write_lines
from hublog.settings import read_settings
from hublog_local import LocalHub

KEY = "c2VjcmV0LWtleS1vZi10aGUtaHVi"


class Examination:
    """The results, and all that was written of them."""

    def __init__(self, results):
        self.results = results
        lines, plain = io.StringIO(), io.StringIO()
        write_lines(results, lines, width=80)
        write_json(results, plain)
        self.lines, self.json = lines.getvalue(), plain.getvalue()

    @property
    def steps(self):
        return [(result.what, str(result.status)) for result in self.results]

    @property
    def failed(self):
        return [result.what for result in self.results if result.status == "fail"]

    def one(self, what):
        [found] = [result for result in self.results if result.what == what]
        return found


@pytest.fixture
def hub():
    with LocalHub({"logs": 1}, keys={"sender": KEY}) as started:
        yield started


@pytest.fixture
def doctor(tmp_path, capfd):
    """Run the doctor on settings; no secret is in its output."""

    def look(
        connection="", *, sends_record=False, options=None, budget=None, secret=KEY, parts=None, **settings
    ):
        environ = {
            "EVENTHUB_NAMESPACE_CONNECTION_STRING": connection,
            "EVENTHUB_LOGS_NAME": "logs",
            "LOG_DIR": str(tmp_path / "logs"),
            **settings,
        }
        inputs = DoctorInput(
            reading=read_settings(environ=environ),
            sends_record=sends_record,
            client_options=options or {},
            budget=TimeBudget(**(budget or {})),
            **{"check_spool_content": partial(check_spool_content, pause=lambda _: None), **(parts or {})},
        )
        found = Examination(list(diagnose(inputs)))
        printed = capfd.readouterr()
        assert secret not in found.lines + found.json + printed.out + printed.err
        assert (printed.out, printed.err) == ("", "")
        return found

    yield look
    # The official package forgets to close the socket of a connection that broke.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "unclosed <", ResourceWarning)
        gc.collect()
