import logging
import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from hublog import signals
from hublog.capture.typed_columns import Misfits
from hublog.delivery.accounting import State, Stats
from hublog.delivery.events import ALLOWED
from hublog.errors import PermanentSendError, TransientSendError
from hublog.runtime.delivery_log import BURST, REPEAT_S, DeliveryLog
from hublog.settings import EventHubSettings, SpoolMode
from hublog.testing import FakeClock

HEALTHY, DEGRADED, OPEN, PROBING, DRAINING, DISK_ONLY = State
EMULATOR = "Endpoint=sb://127.0.0.1:5999;SharedAccessKeyName=a;SharedAccessKey=b;UseDevelopmentEmulator=true"
#: By what the fault harness counts drops that are told.
TOLD_DROPS = re.compile(r"\d[\d,]* records? (?:were|was|could not be|are|is)\b[^\n]*\b(?:dropped|lost)\b")


@dataclass(frozen=True)
class Report:
    count: int = 1_234

    def text(self):
        return f"{self.count:,} records were dropped: queue_full {self.count:,}."

    def as_extra(self):
        return {"by_reason": {"queue_full": self.count}}


class Told:
    """An observer, and what it told."""

    def __init__(self, hub=None, **parts):
        self.clock = FakeClock()
        self.lines = []
        self.state = HEALTHY
        self.observer = DeliveryLog(
            hub or EventHubSettings(eventhub_name="app-logs"),
            write=lambda level, text: self.lines.append((level, text)),
            now=self.clock,
            **parts,
        )

    def go(self, *states, error=None, stats=None, after_s=0.0):
        for state in states:
            self.clock.advance(after_s)
            self.observer.state_changed(self.state, state, error=error, stats=stats or Stats(state=state))
            self.state = state
        return self

    @property
    def levels(self):
        return [logging.getLevelName(level) for level, _ in self.lines]

    @property
    def last(self):
        return self.lines[-1][1]

    @property
    def loud(self):
        return [text for level, text in self.lines if level >= logging.WARNING]


def connected(signal, calls):
    def receiver(sender, **values):
        calls.append((signal.name, sender, values))

    return signal.connected_to(receiver)


# The lines.


def test_an_outage_is_told_at_its_beginning_and_its_end_and_probes_at_debug():
    told = Told().go(DEGRADED, OPEN, error=TransientSendError("refused"))
    for _ in range(50):
        told.go(PROBING, OPEN, error=TransientSendError("refused"), after_s=40)
    told.go(PROBING, DRAINING, HEALTHY, after_s=40)
    assert [level for level in told.levels if level != "DEBUG"] == ["WARNING", "ERROR", "INFO", "INFO"]
    assert len(told.lines) == 2 + 100 + 3


def test_a_short_trouble_is_a_warning_and_an_info():
    told = Told().go(DEGRADED, HEALTHY, error=TransientSendError("reset"), after_s=3)
    assert told.levels == ["WARNING", "INFO"]
    assert "'app-logs' takes records again after 3 s" in told.last


def test_the_end_names_the_seconds_since_the_first_failure_and_what_waits():
    told = Told().go(DEGRADED, OPEN, PROBING, after_s=1_000)
    told.go(HEALTHY, stats=Stats(queued=7), after_s=1_000)
    assert "again after 3,000 s. Waiting: 7 records." in told.last


def test_the_replay_is_told_with_what_waits_and_then_with_what_was_sent():
    told = Told().go(OPEN, PROBING)
    told.go(DRAINING, stats=Stats(spooled=4_000, queued=5, replayed_total=100), after_s=12)
    assert "again after 12 s; what has waited is sent" in told.last
    assert "Waiting: 4,005 records." in told.last
    told.go(HEALTHY, stats=Stats(replayed_total=4_100), after_s=20)
    assert "4,000 records that had waited reached it in 20 s" in told.last
    assert told.levels[-2:] == ["INFO", "INFO"]


def test_an_outage_during_the_replay_is_told_anew():
    told = Told().go(OPEN, PROBING, DRAINING).go(OPEN, after_s=1)
    assert told.levels == ["ERROR", "DEBUG", "INFO", "ERROR"]


def test_what_an_earlier_process_left_is_told_once_a_minute():
    told = Told()
    for _ in range(6):
        told.go(DRAINING, HEALTHY, after_s=REPEAT_S / 4)
    assert told.levels == ["INFO", "INFO", "DEBUG", "DEBUG"] * 3
    assert "left by an earlier process or kept when" in told.lines[0][1]


def test_hanging_sends_are_an_error_once_in_an_outage():
    told = Told().go(DEGRADED, error=TransientSendError("no answer for 30 s"))
    told.go(DISK_ONLY, stats=Stats(abandoned_sends=4), after_s=60)
    assert told.levels == ["WARNING", "ERROR"]
    assert "(4 given up)" in told.last
    for _ in range(20):
        told.go(OPEN, PROBING, DISK_ONLY, after_s=60)
    assert set(told.levels[2:]) == {"DEBUG"}


def test_all_kinds_of_trouble_are_told_in_full_at_the_beginning():
    assert Told().go(DEGRADED, OPEN, DISK_ONLY).levels == ["WARNING", "ERROR", "ERROR"]


@pytest.mark.parametrize("state", [OPEN, DISK_ONLY])
@pytest.mark.parametrize(
    ("hub", "expected"),
    [
        (
            EventHubSettings(spool=SpoolMode.MEMORY, max_queue_size=10_000),
            "wait in memory, up to 10,000 or 32 MiB; later ones are dropped and counted, and a restart loses",
        ),
        (
            EventHubSettings(spool=SpoolMode.MEMORY, max_queue_bytes=1536),
            "up to 10,000 or 1.5 KiB; later",
        ),
        (
            EventHubSettings(spool=SpoolMode.OVERFLOW),
            "wait on disk in /srv/spool, up to 256 MiB for all processes together; then the oldest",
        ),
        (
            EventHubSettings(spool=SpoolMode.ALWAYS, spool_max_bytes=3 << 29),
            "on disk in /srv/spool, up to 1.5 GiB",
        ),
    ],
    ids=["memory", "little memory", "overflow", "always"],
)
def test_an_outage_says_where_records_wait_and_how_many(hub, expected, state):
    told = Told(hub, spool_dir=Path("/srv/spool")).go(state, stats=Stats(spooled=12))
    assert expected in told.last
    assert "Waiting: 12 records." in told.last
    assert "Console and file go on." in told.last


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            TransientSendError("ConnectError: refused"),
            "ConnectError: refused. Check that this machine reaches the namespace (DNS, firewall, proxy)",
        ),
        (
            TransientSendError("connection refused by h:1", advice="check the port"),
            "does not take records. Connection refused by h:1. Check the port. Records wait",
        ),
        (
            PermanentSendError("sign-in failed: no credential", advice="sign in"),
            "be sent to the event hub 'app-logs'. Sign-in failed: no credential. Sign in. This needs a",
        ),
        (TransientSendError("server-busy", retry_after_s=4.0), "Server-busy. The namespace throttles"),
        (TransientSendError("It ended."), "It ended. Check"),
        (None, "does not take records. Check"),
    ],
    ids=["unavailable", "advice", "wrong", "busy", "a sentence", "unknown"],
)
def test_an_outage_says_what_to_check(error, expected):
    assert expected in Told().go(OPEN, error=error).last


@pytest.mark.parametrize(
    ("settings", "place"),
    [
        ({"connection_string": EMULATOR}, "127.0.0.1:5999"),
        ({"fully_qualified_namespace": "shop.servicebus.windows.net"}, "shop.servicebus.windows.net:5671"),
        ({"connection_string": EMULATOR, "endpoint": "gw:8443"}, "gw:8443"),
    ],
)
@pytest.mark.parametrize("state", [OPEN, DISK_ONLY])
def test_an_outage_of_unknown_cause_names_the_host_and_port_that_are_used(settings, place, state):
    told = Told(EventHubSettings(**settings)).go(state, error=TransientSendError("no answer"))
    assert f"Check that this machine reaches {place} (DNS" in told.last


def test_an_error_of_many_lines_is_one_line_and_not_endless():
    told = Told().go(OPEN, error=TransientSendError("first\nsecond " + "x" * 10_000))
    assert "First second xxx" in told.last
    assert "\n" not in told.last
    assert len(told.last) < 1_200


@pytest.mark.parametrize(("number", "text"), [(0, "0 records"), (1, "1 record."), (1_000, "1,000 records")])
def test_numbers_are_written_for_people(number, text):
    assert f"Waiting: {text}" in Told().go(OPEN, stats=Stats(queued=number)).last


def test_drops_are_told_in_the_words_of_the_report():
    told = Told()
    told.observer.records_dropped(Report())
    assert told.lines == [(logging.WARNING, Report().text())]


def test_drops_may_be_told_once_a_minute():
    told = Told()
    assert told.observer.may_report_drops
    told.observer.records_dropped(Report())
    told.clock.advance(REPEAT_S - 1)
    assert not told.observer.may_report_drops
    told.clock.advance(1)
    assert told.observer.may_report_drops


def test_the_end_tells_once_what_stays_on_disk():
    told = Told(spool_dir=Path("/srv/spool"))
    told.observer.end(Stats())
    assert told.lines == []
    told.observer.end(Stats(spooled=1_204))
    told.observer.end(Stats(spooled=1_204))
    assert told.levels == ["INFO"]
    assert "leaves 1,204 records on disk in /srv/spool" in told.last


def test_a_value_that_does_not_fit_its_column_is_told_once():
    misfits = Misfits()
    misfits.add(["source_line"])
    told = Told(misfits=misfits)
    for _ in range(3):
        told.observer.batch_sent(
            records=1, events=1, body_bytes=9, seconds=0.1, is_replay=False, stats=Stats()
        )
    told.observer.end(Stats())
    assert told.levels == ["WARNING"]
    assert "'source_line' does not fit its column" in told.last


def test_the_lines_name_the_hub_that_was_named_last():
    told = Told()
    told.observer.name(EventHubSettings(eventhub_name="other"))
    told.go(OPEN)
    assert "'other'" in told.last


def test_a_broken_handler_of_the_application_does_not_reach_delivery():
    def write(level, text):
        raise ValueError

    DeliveryLog(EventHubSettings(), write=write).state_changed(HEALTHY, OPEN, error=None, stats=Stats())


# Not too many of them.


def test_a_hub_that_comes_and_goes_is_told_once_a_minute():
    told = Told()
    for _ in range(1_000):
        told.go(DEGRADED, OPEN, PROBING, HEALTHY, after_s=1)
    assert len(told.lines) == 4_000
    assert 4_000 / REPEAT_S - 1 <= len(told.loud) <= 4_000 / REPEAT_S + BURST


def test_an_outage_that_was_one_too_many_is_told_at_a_later_probe():
    told = Told().go(*[OPEN, PROBING, HEALTHY] * BURST)
    assert told.levels == ["ERROR", "DEBUG", "INFO"] * BURST
    del told.lines[:]
    told.go(OPEN, after_s=1)
    assert told.levels == ["DEBUG"]
    told.go(PROBING, OPEN, PROBING, OPEN, after_s=REPEAT_S)
    assert told.levels == ["DEBUG", "DEBUG", "ERROR", "DEBUG", "DEBUG"]
    assert "does not take records for 120 s now" in told.loud[0]


@st.composite
def ways(draw):
    """Any way through the states, with the time that each change took."""
    state, way = HEALTHY, []
    for _ in range(draw(st.integers(1, 60))):
        state = draw(st.sampled_from(sorted(ALLOWED[state])))
        way.append((state, draw(st.sampled_from([0.0, 0.2, 5.0, 30.0, 90.0]))))
    return way


ERRORS = st.sampled_from(
    [
        None,
        TransientSendError("12 records lost\nin the hub"),
        PermanentSendError("no"),
        TransientSendError("", retry_after_s=4.0),
    ]
)


@hypothesis_settings(max_examples=150, deadline=None)
@given(way=ways(), error=ERRORS, mode=st.sampled_from(SpoolMode), held=st.integers(0, 10**7))
def test_on_every_way_each_change_is_one_line_and_loud_ones_are_few(way, error, mode, held):
    told = Told(EventHubSettings(spool=mode), spool_dir=Path("/srv/spool"))
    for number, (state, seconds) in enumerate(way, 1):
        told.go(state, error=error, stats=Stats(spooled=held), after_s=seconds)
        assert len(told.lines) == number
        assert "\n" not in told.last
        assert not TOLD_DROPS.search(told.last), "no drop was told"
    assert len(told.loud) <= BURST + sum(seconds for _, seconds in way) / REPEAT_S


@hypothesis_settings(max_examples=100, deadline=None)
@given(way=ways())
def test_on_every_way_the_end_of_what_was_told_is_told(way):
    told = Told()
    for state, seconds in way:
        told.go(state, after_s=seconds)
        if state in (HEALTHY, DRAINING):
            told.lines = [line for line in told.lines if line[0] >= logging.INFO]
            assert not told.lines or told.lines[-1][0] == logging.INFO


# The signals.


def test_a_change_of_state_is_a_signal_after_its_line():
    told, calls = Told(), []
    error, stats = TransientSendError("refused"), Stats()
    with signals.state_changed.connected_to(lambda sender, **values: calls.append((len(told.lines), values))):
        told.go(DEGRADED, error=error, stats=stats)
    assert calls == [(1, {"old": HEALTHY, "new": DEGRADED, "error": error, "stats": stats})]


@hypothesis_settings(max_examples=100, deadline=None)
@given(way=ways())
def test_on_every_way_the_signals_of_the_circuit_follow_each_other(way):
    told, calls = Told(), []
    follows = {
        "circuit_closed": {"circuit_opened"},
        "circuit_opened": {"circuit_half_opened", "circuit_closed"},
        "circuit_half_opened": {"circuit_opened", "circuit_closed"},
    }
    with (
        connected(signals.circuit_opened, calls),
        connected(signals.circuit_half_opened, calls),
        connected(signals.circuit_closed, calls),
    ):
        told.go(*[state for state, _ in way])
    names = ["circuit_closed", *[name for name, _, _ in calls]]
    assert all(after in follows[before] for before, after in pairwise(names))


def test_what_delivery_does_is_passed_on():
    told, calls = Told(), []
    error, stats = TransientSendError("refused"), Stats()
    with (
        connected(signals.batch_sent, calls),
        connected(signals.batch_failed, calls),
        connected(signals.records_dropped, calls),
        connected(signals.spool_replayed, calls),
    ):
        told.observer.batch_sent(
            records=9, events=1, body_bytes=900, seconds=0.1, is_replay=True, stats=stats
        )
        told.observer.batch_failed(error, records=9, seconds=0.1, stats=stats)
        told.observer.records_dropped(Report())
        told.observer.replayed(9, stats)
    assert [(name, sender) for name, sender, _ in calls] == [
        ("batch_sent", "hublog"),
        ("batch_failed", "hublog"),
        ("records_dropped", "hublog"),
        ("spool_replayed", "hublog"),
    ]
    assert [values for _, _, values in calls] == [
        {"records": 9, "events": 1, "body_bytes": 900, "seconds": 0.1, "is_replay": True, "stats": stats},
        {"error": error, "records": 9, "seconds": 0.1, "stats": stats},
        {"count": 1_234, "text": Report().text(), "details": Report().as_extra()},
        {"records": 9, "stats": stats},
    ]


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3), KeyboardInterrupt()], ids=repr)
def test_a_receiver_that_raises_hurts_neither_delivery_nor_other_receivers(error):
    told, calls = Told(), []

    def raises(sender, **values):
        raise error

    with (
        signals.circuit_opened.connected_to(raises),
        connected(signals.circuit_opened, calls),
    ):
        told.go(OPEN, PROBING, OPEN)
    assert len(calls) == 2
    assert [text for text in told.loud if type(error).__name__ in text and "raises" in text]
    assert len(told.lines) == 3 + 1
