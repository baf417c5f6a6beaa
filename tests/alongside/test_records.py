"""What ``logging`` lets an application change about its records."""

import logging
import sys
import warnings
from string import Template

import pytest

import hublog


class BraceRecord(logging.LogRecord):
    """Messages in the manner of ``str.format``."""

    def getMessage(self):  # noqa: N802  # the name is logging's
        return str(self.msg).format(*self.args) if self.args else str(self.msg)


class BraceMessage:
    """As the logging cookbook has it."""

    def __init__(self, form, /, *args, **kwargs):
        self.form, self.args, self.kwargs = form, args, kwargs

    def __str__(self):
        return self.form.format(*self.args, **self.kwargs)


class DollarMessage(BraceMessage):
    def __str__(self):
        return Template(self.form).substitute(**self.kwargs)


@pytest.fixture
def factory():
    """Set a factory of records for the test."""
    before = logging.getLogRecordFactory()
    yield logging.setLogRecordFactory
    logging.setLogRecordFactory(before)


def test_a_record_class_with_its_own_messages_is_respected(factory, alone, hub):
    factory(BraceRecord)
    for message, *arguments in (("order {} of {}", 7, "Ann"), ("100 % {}",), ("odd {order}", 7)):
        alone.info(message, *arguments)
    first, second, third = hub.rows()
    assert (first["message"], first["message_template"]) == ("order 7 of Ann", "order {} of {}")
    assert (second["message"], third["message_template"]) == ("100 % {}", "odd {order}")
    assert third["message"].startswith("odd {order} <arguments [7] do not fit: KeyError>")


def test_it_is_respected_on_the_slow_way_and_in_copies_too(factory, alone, hub):
    factory(BraceRecord)
    message = "order {}"
    alone.info(message, 7, stack_info=True)
    alone.info(message, 8, extra={"extra": {"cart": 3}})
    first, second = hub.rows()
    assert (first["message"], second["message"], second["extra"]) == ("order 7", "order 8", {"cart": 3})


@pytest.mark.parametrize("answer", [None, 7, b"x"], ids=str)
def test_a_message_that_is_no_text_is_shown(answer, factory, alone, hub):
    class Odd(logging.LogRecord):
        def getMessage(self):  # noqa: N802  # the name is logging's
            return answer

    factory(Odd)
    alone.info("order")
    assert hub.row()["message"] == str(answer)


def test_message_objects_of_the_cookbook_arrive(alone, hub):
    alone.info(BraceMessage("order {0} of {name}", 7, name="Ann"))
    alone.info(DollarMessage("order $number", number=8))
    alone.info(BraceMessage("{missing}"))
    first, second, third = hub.rows()
    assert (first["message"], second["message"]) == ("order 7 of Ann", "order 8")
    assert third["message"] == "<BraceMessage that cannot be shown: KeyError>"


def test_what_a_factory_adds_arrives(factory, alone, hub):
    before = logging.getLogRecordFactory()

    def make(*args, **kwargs):
        record = before(*args, **kwargs)
        record.tenant_id, record.colour = "acme", "red"
        return record

    factory(make)
    alone.info("order", extra={"order": 7})
    row = hub.row()
    assert (row["tenant_id"], row["extra"]) == ("acme", {"colour": "red", "order": 7})


def test_a_factory_that_puts_its_own_in_front_arrives(factory, alone, hub):
    class Own(logging.LogRecord):
        def __init__(self, *args, **kwargs):
            self.tenant_id = "acme"
            super().__init__(*args, **kwargs)

    factory(Own)
    alone.info("order %d", 7)
    row = hub.row()
    assert (row["message"], row["tenant_id"], "extra" in row) == ("order 7", "acme", False)


def test_the_fields_of_an_adapter_arrive(alone, hub):
    adapter = logging.LoggerAdapter(alone, {"tenant_id": "acme", "cart": 3})
    adapter.info("order %d", 7, extra={"order": 7})
    adapter.info("order %d", 8)
    first, second = hub.rows()
    assert (first["message"], first["tenant_id"], first["extra"]["cart"]) == ("order 7", "acme", 3)
    assert (second["message"], second["extra"]) == ("order 8", {"cart": 3})


if sys.version_info >= (3, 13):

    def test_an_adapter_that_merges_gives_both(alone, hub):
        adapter = logging.LoggerAdapter(alone, {"tenant_id": "acme", "cart": 3}, merge_extra=True)
        adapter.info("order", extra={"order": 7, "cart": 4})
        row = hub.row()
        assert (row["tenant_id"], row["extra"]) == ("acme", {"cart": 4, "order": 7})


def test_stacklevel_names_the_caller(alone, hub):
    def log_order():
        alone.info("order", stacklevel=2)

    log_order()
    row = hub.row()
    assert row["source_function"] == "test_stacklevel_names_the_caller"


@pytest.mark.parametrize(
    ("number", "severity"), [(1, 1), (5, 1), (15, 5), (25, 9), (35, 13), (45, 17), (60, 21)]
)
def test_levels_with_and_without_a_name_arrive(number, severity, alone, hub, monkeypatch):
    monkeypatch.delitem(logging._levelToName, number, raising=False)  # other tests name some of them
    alone.log(number, "first")
    logging.addLevelName(number, f"OWN{number}")
    try:
        alone.log(number, "second")
    finally:
        del logging._levelToName[number], logging._nameToLevel[f"OWN{number}"]
    found = [(row["level"], row["level_number"], row["severity_number"]) for row in hub.rows()]
    assert found == [(f"Level {number}", number, severity), (f"OWN{number}", number, severity)]


def test_a_level_renamed_while_it_runs_is_seen(alone, hub):
    for name in ("NOTICE", "INFO"):
        logging.addLevelName(logging.INFO, name)
        alone.info("order")
    assert [row["level"] for row in hub.rows()] == ["NOTICE", "INFO"]


def test_warnings_arrive(alone, hub):
    found = logging.getLogger("py.warnings")
    found.addHandler(alone.handlers[0])
    logging.captureWarnings(True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            logging.captureWarnings(False)
            logging.captureWarnings(True)
            warnings.warn("orders are old", DeprecationWarning, stacklevel=1)
    finally:
        logging.captureWarnings(False)
        found.removeHandler(alone.handlers[0])
    row = hub.row()
    assert (row["logger_name"], row["level"]) == ("py.warnings", "WARNING")
    assert "DeprecationWarning: orders are old" in row["message"]


@pytest.mark.parametrize("raises", [True, False])
def test_a_record_that_logging_would_complain_of_arrives_in_silence(raises, alone, hub, monkeypatch, capfd):
    monkeypatch.setattr(logging, "raiseExceptions", raises)
    for message, *arguments in (("order %d", "seven"), ("too many", 1, 2)):
        alone.info(message, *arguments)
    assert [row["message_template"] for row in hub.rows()] == ["order %d", "too many"]
    assert capfd.readouterr().err == ""


def test_a_logger_class_of_its_own_works(hub, fields):
    class Audited(logging.Logger):
        def audit(self, message, *args, **kwargs):
            self.log(33, message, *args, stacklevel=2, **kwargs)

        def makeRecord(self, *args, **kwargs):  # noqa: N802  # the name is logging's
            record = super().makeRecord(*args, **kwargs)
            record.audited = True
            return record

    logger = Audited("beside.audited", 1)
    logger.addHandler(hub.handler())
    logger.audit("order %d", 7)
    row = hub.row()
    assert (row["message"], row["level_number"], row["extra"]) == ("order 7", 33, {"audited": True})
    assert row["source_function"] == "test_a_logger_class_of_its_own_works"


def test_a_filter_that_changes_or_replaces_a_record_is_respected(alone, hub):
    class Masks(logging.Filter):
        def filter(self, record):
            record.card = "****"
            return True

    alone.handlers[0].addFilter(Masks())
    alone.info("paid", extra={"card": "4111"})
    assert hub.row()["extra"] == {"card": "****"}


def test_what_logging_itself_refuses_is_refused_before_us(alone, hub):
    for name in ("message", "asctime", "msg", "name"):
        with pytest.raises(KeyError, match=name):
            alone.info("order", extra={name: 1})
    assert hub.rows() == []
    hublog.bind(message="m", asctime="a", msg="g", name="n")
    alone.info("order")
    row = hub.row()
    assert (row["message"], row["extra"]) == (
        "order",
        {"message": "m", "asctime": "a", "msg": "g", "name": "n"},
    )


def test_what_django_and_uvicorn_leave_on_a_record_does_not_repeat_a_column(alone, hub):
    handler = alone.handlers[0]
    for name in ("django.server", "uvicorn.error", "shop"):
        record = logging.LogRecord(name, 20, "p", 1, "message", (), None)
        record.server_time, record.color_message = "now", "\x1b[1mmessage"
        handler.handle(record)
    found = [row["extra"] for row in hub.rows()]
    assert found == [
        {"color_message": "\x1b[1mmessage"},
        {"server_time": "now"},
        {"server_time": "now", "color_message": "\x1b[1mmessage"},
    ]
