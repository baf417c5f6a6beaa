import gzip

import pytest
from tests.faults.books import Books, tracebacks
from tests.faults.broker import Broker, arrival_of, unpack

OURS = """Exception ignored in atexit callback:
Traceback (most recent call last):
  File "/x/src/hublog/pipeline.py", line 3, in drain_at_exit
    request.wait()
KeyboardInterrupt
"""
PASSED = """Traceback (most recent call last):
  File "/x/gunicorn/workers/sync.py", line 3, in handle
    respiter = self.wsgi(environ, resp.start_response)
  File "/x/src/hublog/requests/wsgi_requests.py", line 44, in serve
    body = app(environ, response.start)
  File "/x/apps/wsgi.py", line 30, in work
    time.sleep(30)
SystemExit: 1
"""


def books(tmp_path, broker, *texts):
    errors = []
    for number, text in enumerate(texts):
        errors.append(tmp_path / f"{number}.err")
        errors[-1].write_text(text)
    return Books(
        folder=tmp_path, spool=tmp_path / "spool", broker=broker, loads=[], errors=errors, known=set()
    )


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("WARNING hublog.internal: 1000 records could not be delivered before the exit and are lost.", 1_000),
        ("WARNING hublog.internal: 3 records were dropped (in all: queue_full 3).", 3),
        ("WARNING hublog.internal: 1,204 records were dropped.", 1_204),
        ("WARNING hublog.internal: 1 record was dropped.", 1),
        ("INFO hublog.internal: The event hub 'x' takes records again; 12 records still wait.", 0),
    ],
)
def test_drops_that_are_told_are_counted(tmp_path, text, number):
    assert books(tmp_path, Broker(), f"first\n{text}\nlast\n").told_drops() == number


def test_a_torn_line_of_a_journal_is_a_record_that_was_not_noted(tmp_path):
    (tmp_path / "journal-1-2").write_text("a\nb\nc-is-to")
    assert books(tmp_path, Broker()).journal() == ["a", "b"]


def test_an_error_inside_the_package_is_told_from_one_that_passes_through():
    assert tracebacks(OURS) == ["KeyboardInterrupt in hublog/pipeline.py"]
    assert tracebacks(PASSED) == []
    assert tracebacks("Fatal Python error: Aborted\n") == ["Fatal Python error: Aborted"]


def test_an_event_is_unpacked_line_by_line():
    body = b'{"a": 1}\n{"a": "\xe2\x82\xac"}'
    assert unpack(body, {}) == [{"a": 1}, {"a": "€"}]
    assert unpack(gzip.compress(body), {"Compression": "gzip"}) == unpack(body, {})


@pytest.mark.parametrize("body", [b'{"a": NaN}', b'{"a": 1', b'{"a": "\xff"}'])
def test_an_event_that_is_no_strict_json_is_refused(body):
    with pytest.raises(ValueError, match=r"."):
        unpack(body, {})


def test_a_record_is_known_by_its_id_in_extra_or_in_its_event_name():
    row = {"record_id": "r", "process_id": 5, "sequence": 7}
    for named in ({"extra": {"fault_id": "a"}}, {"event_name": "fault:a", "extra": {}}):
        assert arrival_of({**row, **named}).id == "a"
    assert arrival_of({**row, "extra": {}, "event_name": "request.finished"}) is None
