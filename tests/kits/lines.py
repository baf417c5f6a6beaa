"""What a line must be, looked at without the package's own code."""

import json
import math
import re

from hublog.capture.columns import BY_NAME, Kind

DATETIME = re.compile(r"[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9](\.[0-9]{6})?Z")


def strict(line):
    """Parse as the specification says: no NaN, no key twice, UTF-8, one line by Unicode's rules too."""
    text = line.decode("utf-8")
    assert len(text.splitlines()) == 1
    return json.loads(text, parse_constant=refuse, object_pairs_hook=unique)


def refuse(name):
    raise ValueError(f"{name} is not JSON")


def unique(pairs):
    row = dict(pairs)
    assert len(row) == len(pairs), f"a key stands twice in {[key for key, _ in pairs]}"
    return row


def fits(row):
    """Return the values that have not the type of their column: ADX would turn them into null unseen."""
    return {name: value for name, value in row.items() if not CHECKS[BY_NAME[name].kind](value)}


def whole(value):
    """Return whether all numbers inside fit what ADX holds."""
    if isinstance(value, dict):
        return all(map(whole, value.values()))
    if isinstance(value, list):
        return all(map(whole, value))
    return type(value) is not int or -(2**63) <= value < 2**63


CHECKS = {
    Kind.STRING: lambda value: type(value) is str and len(value.encode()) <= 1 << 20,
    Kind.INT: lambda value: type(value) is int and -(2**31) <= value < 2**31,
    Kind.LONG: lambda value: type(value) is int and -(2**63) <= value < 2**63,
    Kind.REAL: lambda value: type(value) in (int, float) and math.isfinite(value),
    Kind.BOOL: lambda value: type(value) is bool,
    Kind.DATETIME: lambda value: type(value) is str and DATETIME.fullmatch(value) is not None,
    Kind.DYNAMIC: lambda value: len(json.dumps(value).encode()) <= 1 << 20 and whole(value),
}
