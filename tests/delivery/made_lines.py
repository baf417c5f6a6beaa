"""Lines as the formatter begins them, made by hand."""

import re

NAMES = {10: "DEBUG", 20: "INFO", 30: "WARNING", 40: "ERROR"}
DEBUG, INFO, WARNING, ERROR = LEVELS = tuple(NAMES)


def make_line(number=0, level=INFO, logger="shop.orders", size=0):
    """Return one line with a number that tells it from others, ``size`` bytes longer than it must be."""
    return (
        b'{"timestamp":"2026-09-01T12:00:00.000406Z","sequence":%d,"level":"%b","level_number":%d,'
        b'"severity_number":9,"logger_name":"%b","message":"%b"}'
    ) % (number, NAMES[level].encode(), level, logger.encode(), b"x" * size)


def number_of(line):
    return int(re.search(rb'"sequence":(\d+)', line)[1])


def level_of(line):
    return int(re.search(rb'"level_number":(\d+)', line)[1])
