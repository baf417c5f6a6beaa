"""Names that collide with ours, with logging's, or are no names at all."""

import logging
import tracemalloc

import pytest

import hublog
from hublog.capture.columns import BY_NAME, OPEN_COLUMNS
from hublog.capture.formatter import LineFormatter
from hublog.settings import ServiceSettings


class Odd:
    """No value of any column."""

    def __repr__(self):
        return "<odd>"


def test_names_of_fixed_columns_that_are_bound_go_to_extra(logger, hub):
    fixed = sorted(set(BY_NAME) - OPEN_COLUMNS)
    hublog.bind(**dict.fromkeys(fixed, "mine"))
    logger.info("order %d", 7)
    row = hub.row()
    assert (row["message"], row["level"], row["schema_version"]) == ("order 7", "INFO", 1)
    assert row["extra"] == dict.fromkeys(fixed, "mine")


@pytest.mark.parametrize("value", [Odd(), [1], {"a": 1}, True, 2**70, float("nan"), b"x", "text"], ids=repr)
def test_an_open_column_of_a_wrong_type_is_kept_and_hurts_nothing(value, logger, hub):
    adapter = logging.LoggerAdapter(logger, dict.fromkeys(sorted(OPEN_COLUMNS), value))
    adapter.info("order %d", 7)
    row = hub.row()  # which looks at the type of each column
    assert (row["message"], row["level"]) == ("order 7", "INFO")
    held = {*row, *row.get("extra", {})}
    assert held >= OPEN_COLUMNS


def test_keys_that_are_no_text_arrive_as_text(logger, hub):
    logger.info("order", extra={1: "one", None: "none", (1, 2): "pair", 2.5: "real", b"x": "bytes"})
    assert hub.row()["extra"] == {
        "1": "one",
        "None": "none",
        "(1, 2)": "pair",
        "2.5": "real",
        "b'x'": "bytes",
    }


@pytest.mark.parametrize(
    "key", ["a.b", "a b", "", " ", "a\nb", 'a"b', "é", "$.x", "['x']", "\u2028", "x" * 300]
)
def test_keys_with_any_characters_arrive(key, logger, hub):
    logger.info("order", extra={key: 7})
    hublog.bind(**{f"{key}2": 8})
    logger.info("order")
    first, second = hub.rows()
    assert (first["extra"], second["extra"]) == ({key: 7}, {f"{key}2": 8})


@pytest.mark.parametrize("how", ["extra", "bind", "adapter"])
def test_ten_thousand_keys_are_cut_and_the_record_arrives(how, logger, hub):
    many = {f"key {number}": "x" * 20 for number in range(10_000)}
    if how == "bind":
        hublog.bind(**many)
        logger.info("order %d", 7)
    elif how == "extra":
        logger.info("order %d", 7, extra=many)
    else:
        logging.LoggerAdapter(logger, many).info("order %d", 7)
    row = hub.row()
    assert (row["message"], row["truncated"]) == ("order 7", True)
    assert row["extra"]["<left out>"] == 9_000
    assert len(row["extra"]) == 1_001


def test_names_made_at_run_time_do_not_pile_up():
    formatter = LineFormatter(ServiceSettings())

    def log(number):
        record = logging.LogRecord("shop", 20, "p", 1, "m", (), None)
        record.__dict__.update({f"{number} {key}": key for key in range(2_000)})
        formatter.encode(record)

    log(-1)
    tracemalloc.start()
    try:
        for number in range(20):
            log(number)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 1_000_000


def test_the_record_wins_over_the_bound_and_the_bound_over_nothing(logger, hub):
    hublog.bind(tenant_id="bound", cart="bound", user_id="bound")
    logger.info("order", extra={"tenant_id": "own", "cart": "own"})
    row = hub.row()
    assert (row["tenant_id"], row["user_id"], row["extra"]) == ("own", "bound", {"cart": "own"})
