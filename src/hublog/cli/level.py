"""``hublog level``: changes levels of loggers in the running processes of an application, for a while."""

import argparse
import getpass
import logging
import time
from typing import Final

from hublog.cli.command import FAILURE, OK, Caller, add_config, add_json, count_of, duration, shown
from hublog.doctor.offline_checks import absolute
from hublog.runtime.level_orders import (
    DURATION_MAX_S,
    LEVEL_MAX,
    NAME_MAX,
    ORDERS_MAX,
    LevelOrder,
    read_orders,
    write_orders,
)

_USUAL_S: Final = 600.0


def add_level(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``hublog level``."""
    parser.add_argument(
        "orders",
        nargs="*",
        type=_order,
        metavar="LOGGER=LEVEL",
        help="like shop.orders=DEBUG; root=... for all",
    )
    parser.add_argument(
        "--for",
        dest="seconds",
        type=_seconds,
        default=_USUAL_S,
        metavar="DURATION",
        help="how long, at most 24h (default: 10m)",
    )
    parser.add_argument("--clear", action="store_true", help="end all that is ordered now")
    add_json(parser)
    add_config(parser)


def run_level(options: argparse.Namespace, caller: Caller) -> int:
    """Write the orders into the root of the spool, and print those that hold."""
    root = absolute(caller.read(options.config).settings.spool_dir)
    now = time.time()
    try:
        orders = {order.logger: order for order in read_orders(root) if order.until_s > now}
    except ValueError as error:  # what is there is of no use
        caller.report(f"The orders in {shown(root)} were not valid ({error}).")
        orders = {}
    except OSError as error:
        caller.report(f"The orders in {shown(root)} cannot be read: {error.strerror or error}.")
        return FAILURE
    if options.orders or options.clear:
        by = _user()
        kept = {} if options.clear else orders
        orders = kept | {
            logger: LevelOrder(logger, level, now + options.seconds, by) for logger, level in options.orders
        }
        if len(orders) > ORDERS_MAX:
            caller.report(f"{len(orders)} loggers are too many; at most {ORDERS_MAX} can have an order.")
            return FAILURE
        try:
            write_orders(root, orders.values())
        except OSError as error:
            caller.report(
                f"The orders cannot be written to {shown(root)}: {error.strerror or error}. Run the command"
                " as the user of the application, with its settings; its first record makes the directory."
            )
            return FAILURE
    if options.json:
        caller.write_json([_plain(order) for order in orders.values()])
        return OK
    for logger, level, until, by in (map(shown, _plain(order).values()) for order in orders.values()):
        caller.out.write(f"{logger} {level} until {until} by {by}\n")
    if options.orders or options.clear:
        number = count_of(len(orders), "order")
        caller.report(f"{number} in {shown(root)}; running processes follow within seven seconds.")
    elif not orders:
        caller.out.write("No levels are ordered.\n")
    return OK


def _plain(order: LevelOrder) -> dict[str, object]:
    return {
        "logger": order.logger,
        "level": logging.getLevelName(order.level),
        "until": order.until,
        "by": order.by,
    }


def _order(text: str) -> tuple[str, int]:
    logger, _, name = text.partition("=")
    level = logging.getLevelNamesMapping().get(name.upper(), int(name) if name.isdecimal() else 0)
    if not (0 < len(logger) <= NAME_MAX and logger.isprintable()):
        raise argparse.ArgumentTypeError(f"{text!r} names no logger; it must be like shop.orders=DEBUG")
    if not 0 < level <= LEVEL_MAX:
        allowed = "DEBUG, INFO, WARNING, ERROR, CRITICAL, or 1 to 99"
        raise argparse.ArgumentTypeError(f"{text!r} has no level; after = stands one of {allowed}")
    return logger, level


def _seconds(text: str) -> float:
    seconds = duration(text)
    if not 0 < seconds <= DURATION_MAX_S:
        raise argparse.ArgumentTypeError(f"{text!r} is not above 0 and at most 24h")
    return seconds


def _user() -> str:
    try:
        return getpass.getuser()[:64]
    except (OSError, KeyError, ImportError):  # a container has users without a name
        return "somebody"
