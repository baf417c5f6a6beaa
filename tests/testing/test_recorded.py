import json
import logging
import re
import threading
import unittest.mock
import uuid
from datetime import UTC, datetime
from decimal import Decimal
from urllib.parse import quote_plus

import pytest
from tests.testing.scene import attached

import hublog
from hublog.testing import RecordedLogs, capture_records


@pytest.fixture
def records():
    with capture_records(level="DEBUG") as found:
        yield found


@pytest.fixture
def failure(records):
    """Return the text of the failure of an assertion."""

    def fail(name, *args, **arguments):
        with pytest.raises(AssertionError) as caught:
            getattr(records, name)(*args, **arguments)
        return str(caught.value)

    return fail


# A sequence.


def test_it_is_a_sequence_of_rows(records, logger):
    for number in range(4):
        logger.info("%d", number)
    assert len(records) == 4
    assert records[-1]["message"] == "3"
    assert [row["message"] for row in records[1:3]] == ["1", "2"]
    assert [row["message"] for row in records] == records.messages == list("0123")
    assert records.rows == list(records)
    assert records[0] in records
    assert [row["message"] for row in reversed(records)] == list("3210")


def test_what_is_logged_while_somebody_reads_is_there_at_the_next_look(records, logger):
    logger.info("first")
    for _ in records:
        logger.info("second")
    assert records.messages == ["first", "second"]


def test_any_thread_may_read(records, logger):
    logger.info("order")
    seen = []
    threads = [threading.Thread(target=lambda: seen.append(records.messages)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [["order"]] * 8


def test_cleared_rows_are_gone(records, logger):
    logger.info("first")
    records.clear()
    assert not records
    logger.info("second")
    assert records.messages == ["second"]


def test_its_repr_shows_no_row(records, logger):
    logger.info("s3cret")
    assert len(records) == 1
    assert repr(records) == "<RecordedLogs: 1 rows read>"


# Which rows.

PAID = {
    "order": 7,
    "amount": Decimal("9.90"),
    "at": datetime(2026, 11, 26, 3, 0, tzinfo=UTC),
    "id": uuid.UUID(int=5),
    "tags": ("a", "b"),
    "ok": True,
    "duration_ms": 12,
    "http_route": "/orders/<int:number>",
}


@pytest.mark.parametrize(
    "wish",
    [
        {},
        {"level": "INFO"},
        {"level": "info"},
        {"level": 20},
        {"message": "paid"},
        {"message": "order 7 is paid"},
        {"message": ""},
        {"message": re.compile(r"order \d is")},
        {"message": re.compile("PAID", re.IGNORECASE)},
        {"logger_name": "shop.orders"},
        {"logger_name": re.compile("^shop")},
        {"order": 7},
        {"order": 7.0},
        {"amount": Decimal("9.90")},
        {"amount": "9.90"},
        {"at": PAID["at"]},
        {"id": uuid.UUID(int=5)},
        {"tags": ("a", "b")},
        {"tags": ["a", "b"]},
        {"ok": True},
        {"duration_ms": 12},
        {"duration_ms": pytest.approx(12.001, abs=0.1)},
        {"order": unittest.mock.ANY},
        {"http_route": "/orders/<int:number>"},
        {"exception_type": None},
        {"refund": None},
        {"level": "INFO", "message": "paid", "order": 7, "http_route": re.compile("orders")},
    ],
    ids=str,
)
def test_a_row_that_is_so_is_found(records, logger, failure, wish):
    logger.warning("noise")
    logger.info("order %d is paid", 7, extra=PAID)
    assert records.where(**wish)[-1]["message"] == "order 7 is paid"
    assert records.assert_logged(**wish) in records
    assert "order 7 is paid" in failure("assert_not_logged", **wish)


@pytest.mark.parametrize(
    "wish",
    [
        {"level": "WARNING"},
        {"level": 21},
        {"message": "Paid"},
        {"message": re.compile("^paid")},
        {"logger_name": "shop"},
        {"order": 8},
        {"order": "7"},
        {"order": True},
        {"ok": 1},
        {"order": None},
        {"order": re.compile("7")},
        {"at": datetime(2026, 11, 26, 4, 0, tzinfo=UTC)},
        {"refund": unittest.mock.ANY},
        {"refund": 7},
        {"exception_type": "ValueError"},
        {"message": "paid", "order": 8},
    ],
    ids=str,
)
def test_a_row_that_is_not_so_is_not_found(records, logger, failure, wish):
    logger.info("order %d is paid", 7, extra=PAID)
    assert records.where(**wish) == []
    records.assert_not_logged(**wish)
    assert failure("assert_logged", **wish).startswith("No record reached the Event Hub with ")


@pytest.mark.parametrize(
    ("wish", "error", "text"),
    [
        ({"level": "LOUD"}, ValueError, "level is 'LOUD'; it must be a number or one of CRITICAL"),
        ({"level": 2.5}, TypeError, "level is 2.5"),
        ({"level": True}, TypeError, "level is True"),
        ({"message": 7}, TypeError, "message is 7; it must be a string or a compiled pattern"),
    ],
)
@pytest.mark.parametrize("name", ["where", "assert_logged", "assert_not_logged"])
def test_a_wish_that_means_nothing_raises(records, name, wish, error, text):
    with pytest.raises(error, match=text):
        getattr(records, name)(**wish)


def test_a_value_that_neither_compares_nor_shows_is_not_found(logger, failure):
    class Odd:
        def __eq__(self, other):
            raise ValueError("no one answer")

        __hash__ = None

        def __repr__(self):
            raise LookupError

    logger.info("order", extra={"order": 7})
    assert "extra.order is 7, not <Odd that cannot be shown: LookupError>" in failure(
        "assert_logged", order=Odd()
    )


def test_a_level_of_ones_own_is_known_by_its_name(records, logger):
    logging.addLevelName(25, "NOTICE")
    logger.log(25, "order")
    assert records.assert_logged(level="notice")["level"] == "NOTICE"


# What people read.


def test_the_closest_rows_are_shown_with_what_differs(logger, failure):
    logger.info("payment begun for order 7", extra={"order": 7})
    logger.warning("payment failed for order 8", extra={"order": 8})
    for number in range(5):
        logger.debug("noise %d", number)
    text = failure("assert_logged", level="ERROR", message="payment failed", order=7)
    assert text.startswith(
        "No record reached the Event Hub with level ERROR, message containing 'payment failed'"
        " and extra.order equal to 7.\n"
    )
    line = logger_line(text, "WARNING")
    assert text.splitlines()[:7] == [
        text.splitlines()[0],
        "",
        "7 records did; these are closest:",
        text.splitlines()[3],
        "    - level is INFO, not ERROR",
        "    - message is 'payment begun for order 7', which does not contain 'payment failed'",
        f"  WARNING shop.orders: payment failed for order 8  [{line}]",
    ]
    assert text.splitlines()[7:9] == ["    - level is WARNING, not ERROR", "    - extra.order is 8, not 7"]


def logger_line(text, level):
    return re.search(rf"{level} .*\[(.*)\]", text)[1]


def test_values_that_only_look_alike_are_told_apart(logger, failure):
    logger.info("order", extra={"order": "7"})
    assert "extra.order is '7', not 7 (str and int)" in failure("assert_logged", order=7)


def test_a_name_that_is_nowhere_is_told_with_one_that_is(logger, failure):
    logger.info("order", extra={"customer": "ann"})
    assert "did you mean http_status_code?" in failure("assert_logged", http_status=200)
    assert "did you mean customer?" in failure("assert_logged", custmer="ann")
    assert "extra.zzz is missing; expected 1" in failure("assert_logged", zzz=1)


def test_a_long_message_is_cut(logger, failure):
    logger.info("x" * 100_000)
    assert len(failure("assert_logged", message="order")) < 1_000


def test_a_pattern_is_shown(logger, failure):
    logger.info("order 7")
    assert r"message is 'order 7', which '\\d\\d' does not match" in failure(
        "assert_logged", message=re.compile(r"\d\d")
    )


def test_all_that_should_not_be_there_is_listed_to_a_limit(logger, failure):
    for number in range(12):
        logger.warning("%d", number)
    text = failure("assert_not_logged", level="WARNING")
    assert text.startswith("12 records with level WARNING reached the Event Hub, and none should:\n")
    assert text.endswith("... and 2 more")


def test_nothing_at_all_is_told_with_what_keeps_it_from_the_hub(logger):
    with capture_records() as records:
        logger.debug("too low")
        with pytest.raises(AssertionError) as caught:
            records.assert_logged(level="DEBUG")
    assert str(caught.value) == (
        "No record reached the Event Hub with level DEBUG.\n\n"
        "The root logger passes INFO and above only.\n"
        "The EventHubHandler accepts INFO and above only."
    )


def test_a_disabled_logger_and_a_missing_handler_are_told(logger, records, failure):
    logging.getLogger("shop").addHandler(hublog.EventHubHandler())
    logger.disabled = True
    logger.error("order")
    assert "The logger shop.orders is disabled" in failure("assert_logged", logger_name="shop.orders")
    logging.getLogger("stock").propagate = False
    assert "The logger stock has no EventHubHandler" in failure("assert_logged", logger_name="stock")


# Secrets.

SECRET = "pa ss/w%rd'\"\\ß"


@pytest.mark.parametrize(
    ("log", "where"),
    [
        (lambda logger, secret: logger.info("it is %s", secret), "message"),
        (lambda logger, secret: logger.info("it is %r", secret), "message"),
        (lambda logger, secret: logger.info(json.dumps({"it": secret})), "message"),
        (lambda logger, secret: logger.info(f"/?it={quote_plus(secret)}"), "message"),
        (lambda logger, secret: logger.info("x", extra={"it": secret}), "extra.it"),
        (lambda logger, secret: logger.info("x", extra={"it": {"a": [1, {"b": secret}]}}), "extra.it.a.b"),
        (lambda logger, secret: logger.info("x", extra={"it": {secret: 1}}), "extra.it"),
        (lambda logger, secret: logger.info("x", exc_info=ValueError(secret)), "exception_message"),
        (lambda logger, secret: logger.info("x", extra={"http_path": f"/{secret}/"}), "http_path"),
        (lambda logger, secret: logging.getLogger(f"a {secret}").info("x"), "logger_name"),
    ],
    ids=["text", "repr", "json", "query", "extra", "deep", "key", "exception", "column", "name"],
)
def test_a_given_secret_is_found_wherever_it_is_and_not_shown(logger, failure, log, where):
    logger.info("clean")
    log(logger, SECRET)
    text = failure("assert_no_secrets", SECRET)
    assert text == failure("assert_no_secrets", SECRET.encode())
    assert "row 2, INFO of " in text
    assert f": {where} " in text
    assert "contains the given value" in text
    for form in (SECRET, repr(SECRET)[1:-1], json.dumps(SECRET)[1:-1], quote_plus(SECRET)):
        assert form not in text


def test_a_number_is_found_as_text(records, logger, failure):
    logger.info("x", extra={"pin": 918273})
    assert "extra.pin contains given value 2" in failure("assert_no_secrets", "absent", "918273")


@pytest.mark.parametrize(
    ("row", "where"),
    [
        ({"message": "login with password=hunter2hunter2"}, "message"),
        ({"extra": {"api_key": "abcdef123456"}}, "extra.api_key"),
        ({"exception_message": "postgres://ann:pw123456@db/shop"}, "exception_message"),
    ],
)
def test_what_looks_like_a_secret_is_found_without_being_given(failure, row, where, monkeypatch):
    monkeypatch.setattr(RecordedLogs, "_read", lambda _: [row])
    text = failure("assert_no_secrets")
    assert f"{where} contains what looks like a secret, " in text
    assert not re.search("hunter2|abcdef123456|pw123456", text)


def test_ordinary_rows_hold_no_secret(records, logger):
    logger.info("order %d of %s", 7, "ann", extra=PAID, exc_info=ValueError("no"))
    logger.info("x", extra={"session_id": "ab" * 16, "trace_id": "0" * 32, "user_id": "4111"})
    records.assert_no_secrets("s3cret")


@pytest.mark.parametrize(
    ("value", "error"), [("", ValueError), (b"", ValueError), (7, TypeError), (None, TypeError)], ids=repr
)
def test_a_secret_that_is_none_raises(records, value, error):
    for check in (records.assert_no_secrets, records.forbid):
        with pytest.raises(error):
            check(value)


def test_a_forbidden_secret_fails_at_the_end_although_it_was_cleared(logger):
    before = logging.getLogger().handlers[:]

    def run():
        with capture_records() as records:
            records.forbid("s3cret", "absent")
            logger.info("it is %s", "s3cret")
            records.clear()

    with pytest.raises(AssertionError) as caught:
        run()
    assert "row 1, INFO of shop.orders" in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert logging.getLogger().handlers == before


def test_a_forbidden_secret_that_the_hub_has_not_yet_taken_fails_too(logger):
    def run():
        with capture_records() as records:
            records.forbid("s3cret")
            records.fail_next(1_000)
            logger.error("s3cret")

    with pytest.raises(AssertionError):
        run()


def test_a_row_that_reads_like_a_mask_is_no_secret(records, logger):
    logger.info("x", extra={"it": "***"})
    records.assert_no_secrets("s3cret")


def test_reading_another_handlers_records_is_no_matter_of_its_level(logger):
    with attached(hublog.EventHubHandler(logging.ERROR), logger), capture_records() as records:
        logger.warning("too low")
        logger.error("order")
    assert isinstance(records, RecordedLogs)
    assert records.messages == ["order"]


@pytest.mark.parametrize("is_on", [True, False], ids=["on", "off"])
def test_what_redaction_masks_is_no_secret_and_what_it_lets_pass_is_one(logger, monkeypatch, is_on):
    monkeypatch.setenv("LOG_REDACTION", str(is_on))
    with capture_records() as records:
        logger.info("login with password=hunter2hunter2", extra={"api_key": "abcdef123456"})
        if is_on:
            records.assert_no_secrets("hunter2hunter2", "abcdef123456")
        else:
            with pytest.raises(AssertionError, match="contains what looks like a secret"):
                records.assert_no_secrets()
