import logging
import tracemalloc

import pytest

from hublog.capture import reentry_guard
from hublog.capture.formatter import LineFormatter
from hublog.capture.typed_columns import BYTES_MAX, ENTRIES_MAX, ENTRY_MAX, BoundedCache
from hublog.redaction.redactor import Redactor
from hublog.requests.request_fields import client_address
from hublog.sampling.dedup import equality_key
from hublog.sampling.rate_limit import RateLimit
from hublog.settings import RedactionSettings, ServiceSettings

LONG = 60_000


def size_of(value, seen):
    """Return the bytes of all texts below an object."""
    if id(value) in seen:
        return 0
    seen.add(id(value))
    if isinstance(value, str | bytes):
        return len(value)
    if isinstance(value, dict):
        return sum(size_of(item, seen) for pair in value.items() for item in pair)
    if isinstance(value, tuple | list | set | frozenset):
        return sum(size_of(item, seen) for item in value)
    slots = [name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ())]
    return sum(
        size_of(getattr(value, name, None), seen) for name in (*slots, *getattr(value, "__dict__", ()))
    )


def record(msg="m", *, name="shop", **extra):
    made = logging.LogRecord(name, logging.INFO, "/srv/shop.py", 1, msg, None, None)
    made.__dict__.update(extra)
    return made


def test_what_is_kept_is_found_and_a_full_cache_begins_again():
    cache = BoundedCache()
    assert [cache.keep(number, -number, 1) for number in range(ENTRIES_MAX)] == [
        -n for n in range(ENTRIES_MAX)
    ]
    assert cache.get(7) == -7
    cache.keep("one more", 1, 1)
    assert dict(cache) == {"one more": 1}


def test_bytes_are_bounded_whatever_the_number():
    cache = BoundedCache()
    for number in range(4 * BYTES_MAX // ENTRY_MAX):
        cache.keep(number, number, ENTRY_MAX)
        assert len(cache) * ENTRY_MAX <= BYTES_MAX
    assert cache.keep("large", 1, ENTRY_MAX + 1) == 1
    assert "large" not in cache


@pytest.mark.parametrize("length", [1_000, LONG])
@pytest.mark.parametrize(
    "make",
    [
        lambda text: record(**{f"name{text}": 1}),
        lambda text: record(**{f"name{number}{text[:200]}": 1 for number in range(100)}),
        record,
        lambda text: record(name=f"shop.{text}"),
        lambda text: record(threadName=text),
        lambda text: record(funcName=text),
        lambda text: record(pathname=text),
    ],
    ids=["one name", "many names", "message", "logger", "thread", "function", "path"],
)
def test_a_formatter_keeps_little_whatever_clients_choose(make, length):
    lines = LineFormatter(ServiceSettings())
    before = size_of(lines, set())
    for number in range(600):
        made = make(f"{number:06d}".ljust(length, "x"))
        made.lineno = number
        lines.encode(made)
    assert size_of(lines, set()) - before < 2 * BYTES_MAX


def test_names_of_loggers_are_kept_up_to_a_bound():
    front = reentry_guard.CaptureHandler()
    front.capture = lambda *_args, **_options: None
    limit = RateLimit(1.0, 1)
    tracemalloc.start()
    for number in range(500):
        front.emit(record(name=f"{number:06d}".ljust(LONG, "x")))
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size < 500 * LONG // 10
    for number in range(500):
        limit.allows(f"{number:06d}".ljust(LONG, "x"))
    assert size_of(limit._buckets, set()) < BYTES_MAX


def test_lines_of_source_are_kept_up_to_a_bound():
    redactor = Redactor(RedactionSettings())
    longest = max(len(redactor.source(f"{number:06d}".ljust(LONG, "x"))) for number in range(500))
    cached = redactor._source.cache_info()
    assert cached.currsize <= cached.maxsize
    assert 2 * longest * cached.maxsize < BYTES_MAX


def test_a_record_with_very_long_names_is_not_known_again():
    assert equality_key(record(**{"n" * LONG: 1})) is None
    assert equality_key(record(**{f"n{number}": 1 for number in range(500)})) is None
    assert equality_key(record(name="shop." + "x" * LONG)) == equality_key(record(name="shop." + "x" * LONG))
    assert size_of(equality_key(record(name="shop." + "x" * LONG)), set()) < 1_000


def test_a_hop_that_is_too_long_for_an_address_is_none():
    assert client_address("1" * LONG, "10.0.0.1", trusted_proxy_count=1) == "10.0.0.1"
    assert client_address("[2001:db8::1%eth0]:443", "10.0.0.1", trusted_proxy_count=1) == "2001:db8::1"
