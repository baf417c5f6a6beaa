"""``hublog level``: orders that running processes carry out, and take back."""

import json
import logging
import os
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hublog.cli import main
from hublog.runtime.level_orders import FILE, LOOK_S, LevelControl, LevelOrder, read_orders, write_orders
from hublog.testing import FakeClock

NOON = 1_790_000_000.0
LIMIT_S = 30


class Taker(logging.Handler):
    def __init__(self, level):
        super().__init__(level)
        self.seen = []

    def emit(self, record):
        self.seen.append(record.getMessage())


Taker.__module__ = "hublog.testing"  # one of hublog's handlers


@pytest.fixture
def spool(tmp_path):
    return tmp_path


@pytest.fixture
def shop():
    """The logger of a shop, with a destination from INFO up."""
    logger = logging.getLogger("level_shop")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    handler = Taker(logging.INFO)
    logger.addHandler(handler)
    yield logger
    logger.removeHandler(handler)
    for name in ("level_shop", "level_shop.orders", "level_shop.stock"):
        logging.getLogger(name).setLevel(logging.NOTSET)


class Process:
    """What one process does with the orders of a spool."""

    def __init__(self, root):
        self.clock, self.wall = FakeClock(), FakeClock(NOON)
        self.control = LevelControl(root, now=self.clock, wall=self.wall)

    def look(self, seconds=LOOK_S):
        self.clock.advance(seconds)
        self.wall.advance(seconds)
        return self.control.look()


def order(name, level, seconds=600.0):
    return LevelOrder(name, level, NOON + seconds, "ann")


def seen(logger):
    [handler] = [each for each in logging.getLogger("level_shop").handlers if isinstance(each, Taker)]
    logger.debug("debug of %s", logger.name)
    logger.info("info of %s", logger.name)
    taken, handler.seen = handler.seen, []
    return [text.split()[0] for text in taken]


def test_an_order_lets_the_records_of_its_logger_alone_through_to_the_destinations(spool, shop):
    process, orders, stock = Process(spool), *map(shop.getChild, ("orders", "stock"))
    assert process.look() == float("inf")
    assert seen(orders) == ["info"]
    write_orders(spool, [order("level_shop.orders", logging.DEBUG)])
    assert 590 < process.look() <= 600
    assert seen(orders) == seen(orders.getChild("paid")) == ["debug", "info"]
    stock.setLevel(logging.DEBUG)  # the application's own: the destination is still from INFO up
    assert seen(stock) == ["info"]


def test_it_ends_by_itself_and_leaves_what_was_there(spool, shop, caplog):
    process, orders = Process(spool), shop.getChild("orders")
    orders.setLevel(logging.WARNING)
    made = order("level_shop.orders", logging.DEBUG, 60.0)
    write_orders(spool, [made])
    left = process.look()
    assert orders.level == logging.DEBUG
    process.look(left + 0.001)
    assert (orders.level, shop.handlers[0].level, shop.handlers[0].filters) == (30, 20, [])
    first, last = (record.getMessage() for record in caplog.records)
    assert f"'level_shop.orders' is DEBUG until {made.until}; ann ran hublog level. It was WARNING." in first
    assert last == "The level of the logger 'level_shop.orders' is again WARNING."


def test_what_the_application_sets_meanwhile_stays(spool, shop):
    process, orders = Process(spool), shop.getChild("orders")
    write_orders(spool, [order("level_shop.orders", logging.DEBUG, 60.0)])
    process.look()
    orders.setLevel(logging.ERROR)
    shop.handlers[0].setLevel(logging.WARNING)
    process.look(61)
    assert (orders.level, shop.handlers[0].level) == (logging.ERROR, logging.WARNING)


def test_orders_that_are_cleared_end_and_changed_ones_change(spool, shop):
    process, orders = Process(spool), shop.getChild("orders")
    write_orders(spool, [order("level_shop.orders", logging.DEBUG)])
    process.look()
    write_orders(spool, [order("level_shop.orders", logging.ERROR), order("level_shop.stock", 10)])
    process.look()
    assert (seen(orders), seen(shop.getChild("stock"))) == ([], ["debug", "info"])
    write_orders(spool, [])
    assert process.look() == float("inf")
    assert (orders.level, shop.getChild("stock").level, shop.handlers[0].level) == (0, 0, 20)


def test_two_states_of_a_process_change_a_level_once(spool, shop):
    process, orders = Process(spool), shop.getChild("orders")
    write_orders(spool, [order("level_shop.orders", logging.DEBUG, 60.0)])
    for _ in range(3):
        process.look()
    process.look(61)
    assert orders.level == logging.NOTSET


def test_a_clock_that_was_set_back_ends_an_order(spool, shop):
    process, orders = Process(spool), shop.getChild("orders")
    write_orders(spool, [order("level_shop.orders", logging.DEBUG)])
    process.look()
    process.wall.advance(-10 * 86_400)
    assert process.look() == float("inf")
    assert orders.level == logging.NOTSET


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"[", "unexpected end"),
        (b'{"logger": "a"}', "no list of orders"),
        (b"[" + b",".join([b"1"] * 101) + b"]", "no list of orders"),
        (b'["' + b"x" * 70_000 + b'"]', "no list of orders"),
        (b'[{"logger":"","level":10,"until_s":1e9,"by":"a"}]', "not valid"),
        (b'[{"logger":"a","level":0,"until_s":1e9,"by":"a"}]', "not valid"),
        (b'[{"logger":"a","level":"DEBUG","until_s":1e9,"by":"a"}]', "not valid"),
    ],
)
def test_a_file_that_holds_no_orders_changes_nothing_and_is_reported_once(
    spool, shop, caplog, content, cause
):
    process = Process(spool)
    write_orders(spool, [order("level_shop.orders", logging.DEBUG)])
    process.look()
    caplog.clear()
    (spool / FILE).write_bytes(content)
    process.look()
    process.look()
    [text] = [record.getMessage() for record in caplog.records]
    assert "are not applied" in text
    assert cause in text
    assert shop.getChild("orders").level == logging.DEBUG  # as ordered before


@given(data=st.binary(max_size=200))
def test_no_bytes_do_any_harm(tmp_path_factory, data):
    root = tmp_path_factory.mktemp("spool")
    (root / FILE).write_bytes(data)
    Process(root).look()
    assert logging.root.level == logging.WARNING


def test_a_file_of_others_a_link_and_a_pipe_are_refused(spool, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    write_orders(elsewhere, [order("level_shop.orders", logging.DEBUG)])
    (spool / FILE).symlink_to(elsewhere / FILE)
    with pytest.raises(OSError):  # noqa: PT011  # the system's own
        read_orders(spool)
    (spool / FILE).unlink()
    write_orders(spool, [order("level_shop.orders", logging.DEBUG)])
    (spool / FILE).chmod(0o666)
    with pytest.raises(OSError, match="everybody may write"):
        read_orders(spool)
    (spool / FILE).unlink()
    os.mkfifo(spool / FILE)
    with pytest.raises(ValueError, match="not a file"):
        read_orders(spool)


def test_a_write_that_fails_leaves_the_orders_that_were_there(spool, monkeypatch):
    write_orders(spool, [order("level_shop.orders", logging.DEBUG)])
    with pytest.raises(TypeError):
        write_orders(spool, [order("level_shop.orders", object())])
    assert [each.name for each in spool.iterdir()] == [FILE]
    assert len(read_orders(spool)) == 1
    assert (spool / FILE).stat().st_mode & 0o777 == 0o600


# The command


@pytest.fixture
def run(monkeypatch, capsys, spool):
    monkeypatch.setenv("EVENTHUB_LOG_SPOOL_DIR", str(spool))

    def run(*arguments):
        status = main(["level", *arguments])
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return run


def test_the_command_writes_shows_and_ends_orders(run, spool):
    assert run() == (0, "No levels are ordered.\n", "")
    status, out, err = run("shop=debug", "root=35", "--for", "2h")
    assert status == 0
    assert [line.split(" until ")[0] for line in out.splitlines()] == ["shop DEBUG", "root Level 35"]
    assert "2 orders" in err
    assert {each.logger: each.level for each in read_orders(spool)} == {"shop": 10, "root": 35}
    assert all(7_100 < each.until_s - time.time() <= 7_200 for each in read_orders(spool))
    run("shop=ERROR")
    status, out, _ = run("--json")
    assert {each["logger"]: each["level"] for each in json.loads(out)} == {
        "shop": "ERROR",
        "root": "Level 35",
    }
    assert run("--clear")[0] == 0
    assert read_orders(spool) == []


@pytest.mark.parametrize(
    ("argument", "error"),
    [
        ("shop", "has no level"),
        ("shop=LOUD", "has no level"),
        ("shop=100", "has no level"),
        ("=DEBUG", "names no logger"),
        ("x" * 300 + "=DEBUG", "names no logger"),
    ],
)
def test_a_wrong_order_is_refused(run, capsys, argument, error):
    with_status = run(argument)
    assert with_status[0] == 2
    assert error in with_status[2]


def test_a_wrong_duration_is_refused(run):
    assert "at most 24h" in run("shop=DEBUG", "--for", "25h")[2]


def test_a_spool_that_is_not_there_is_an_error_that_says_what_to_do(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("EVENTHUB_LOG_SPOOL_DIR", str(tmp_path / "none"))
    assert main(["level", "shop=DEBUG"]) == 1
    assert "Run the command as the user of the application" in capsys.readouterr().err


PROGRAM = """
import logging, sys, hublog
hublog.setup_logging()
log = logging.getLogger("shop.orders")
log.info("begins")
for line in sys.stdin:
    log.debug("debug")
    log.info("info")
    print(log.isEnabledFor(10), flush=True)
assert hublog.flush(10)
"""


def test_a_running_process_follows(tmp_path):
    """Another process orders DEBUG: the records come to the log file, and end when the order does."""
    environ = {
        **os.environ,
        "LOG_DIR": str(tmp_path),
        "LOG_TO_STDOUT": "false",
        "FILE_LOG_LEVEL": "INFO",
        "EVENTHUB_LOG_SPOOL": "always",
        "EVENTHUB_NAMESPACE_CONNECTION_STRING": "Endpoint=sb://127.0.0.1:1;SharedAccessKeyName=n;"
        "SharedAccessKey=a2V5;UseDevelopmentEmulator=true",
    }
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM.replace("assert hublog.flush(10)", "")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environ,
    )
    command = [sys.executable, "-m", "hublog", "level"]

    def is_debug():
        program.stdin.write("\n")
        program.stdin.flush()
        return program.stdout.readline() == "True\n"

    def wait_until(value):
        end = time.monotonic() + LIMIT_S
        while is_debug() is not value:
            assert time.monotonic() < end
            time.sleep(0.2)

    try:
        assert not is_debug()
        subprocess.run(
            [*command, "shop.orders=DEBUG", "--for", "1h"], env=environ, check=True, timeout=LIMIT_S
        )
        wait_until(True)
        is_debug()
        assert '"message":"debug"' in (tmp_path / "application.log").read_text()
        subprocess.run([*command, "--clear"], env=environ, check=True, timeout=LIMIT_S)
        wait_until(False)
    finally:
        program.stdin.close()
        program.wait(LIMIT_S)
        program.stdout.close()
    text = (tmp_path / "application.log").read_text()
    assert "ran hublog level. It was not set." in text
    assert text.count('"message":"debug"') >= 1
