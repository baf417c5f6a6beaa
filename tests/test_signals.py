import gc
import inspect
import logging
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from hublog import signals
from hublog.delivery.accounting import State, Stats
from hublog.delivery.events import ALLOWED
from hublog.errors import TransientSendError
from hublog.runtime.delivery_log import DeliveryLog
from hublog.settings import EventHubSettings
from hublog.signals import SLOW_S, batch_sent, emit
from hublog.testing import FakeClock

PAGE = (Path(__file__).parent.parent / "docs" / "signals.md").read_text()


@pytest.fixture
def told(monkeypatch):
    monkeypatch.setattr(signals, "_reported", set())
    return []


def emit_to(told, *receivers, times=1, now=None, **values):
    for receiver in receivers:
        batch_sent.connect(receiver)
    try:
        for _ in range(times):
            emit(
                "batch_sent",
                values,
                lambda level, text: told.append((level, text)),
                **({"now": now} if now else {}),
            )
    finally:
        for receiver in receivers:
            batch_sent.disconnect(receiver)


def test_a_receiver_is_given_the_sender_and_the_values(told):
    calls = []

    def receiver(sender, **values):
        calls.append((sender, values))

    emit_to(told, receiver, records=3)
    assert (calls, told) == ([("hublog", {"records": 3})], [])


def test_a_receiver_may_be_connected_to_the_sender_by_name(told):
    calls = []

    def receiver(sender, **values):
        calls.append(sender)

    with batch_sent.connected_to(receiver, sender="hublog"):
        emit_to(told)
    with batch_sent.connected_to(receiver, sender="somebody else"):
        emit_to(told)
    assert calls == ["hublog"]


def test_nobody_is_called_while_the_signal_is_muted(told):
    calls = []

    def receiver(sender, **values):
        calls.append(sender)

    with batch_sent.muted():
        emit_to(told, receiver)
    assert calls == []


def test_a_receiver_that_is_gone_is_not_called(told):
    class Page:
        def show(self, sender, **values):
            raise AssertionError

    page = Page()
    batch_sent.connect(page.show)
    del page
    gc.collect()
    emit_to(told)
    assert told == []


@pytest.mark.parametrize("error", [ValueError("key=s3cret"), SystemExit(1), KeyboardInterrupt()], ids=repr)
def test_a_receiver_that_raises_is_told_once_and_the_others_are_called(told, error):
    calls = []

    def first(sender, **values):
        calls.append("first")
        raise error

    def second(sender, **values):
        calls.append("second")
        raise error

    emit_to(told, first, second, times=3)
    assert sorted(calls) == ["first"] * 3 + ["second"] * 3
    assert [level for level, _ in told] == [logging.WARNING] * 2
    assert all(f"raised {type(error).__name__}" in text and "'batch_sent'" in text for _, text in told)
    assert {name for _, text in told for name in ("first", "second") if f"<locals>.{name} " in text} == {
        "first",
        "second",
    }
    assert "s3cret" not in str(told)


def test_two_receivers_of_one_name_are_told_apart(told):
    receivers = [lambda sender, **values: 1 / 0 for _ in range(2)]
    emit_to(told, *receivers, times=2)
    assert len(told) == 2


def test_receivers_without_end_are_not_lines_without_end(told):
    for _ in range(300):
        emit_to(told, lambda sender, **values: 1 / 0)
    assert 0 < len(told) <= 100


def test_a_slow_receiver_is_told_once(told):
    clock = FakeClock()

    def receiver(sender, **values):
        clock.advance(SLOW_S + 0.5)

    emit_to(told, receiver, times=2, now=clock)
    assert [text.count("took 1.5 s") for _, text in told] == [1]


def test_a_coroutine_function_is_told_and_leaves_no_warning(told):
    async def receiver(sender, **values):
        raise AssertionError

    emit_to(told, receiver)
    gc.collect()
    assert [text.count("is a coroutine function") for _, text in told] == [1]


def test_a_receiver_need_not_be_a_function(told):
    def receiver(found, sender, **values):
        raise ValueError

    emit_to(told, partial(receiver, 1))
    assert [text.count("functools.partial ") for _, text in told] == [1]


def test_without_an_import_of_the_signals_blinker_is_not_loaded():
    program = (
        "import sys\n"
        "from hublog.delivery.accounting import State, Stats\n"
        "from hublog.runtime.delivery_log import DeliveryLog\n"
        "from hublog.settings import EventHubSettings\n"
        "observer = DeliveryLog(EventHubSettings(), write=lambda level, text: None)\n"
        "observer.state_changed(State.HEALTHY, State.OPEN, error=None, stats=Stats())\n"
        "print('blinker' in sys.modules, 'hublog.signals' in sys.modules)\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["False", "False"]


def test_a_module_that_is_being_imported_is_left_alone(monkeypatch):
    monkeypatch.setitem(sys.modules, "hublog.signals", type(sys)("hublog.signals"))
    DeliveryLog(EventHubSettings(), write=lambda level, text: None).replayed(1, Stats())


# What is documented.


def named(signal):
    """Return the keyword arguments that the docstring of a signal names."""
    return re.findall(r"^        (\w+) \(", signal.__doc__, re.MULTILINE)


class Report:
    count = 1

    def text(self):
        return "1 record was dropped."

    def as_extra(self):
        return {}


CALLS = [
    lambda observer: observer.batch_sent(
        records=1, events=1, body_bytes=1, seconds=0.1, is_replay=False, stats=Stats()
    ),
    lambda observer: observer.batch_failed(TransientSendError("no"), records=1, seconds=0.1, stats=Stats()),
    lambda observer: observer.state_changed(State.HEALTHY, State.OPEN, error=None, stats=Stats()),
    lambda observer: observer.state_changed(State.OPEN, State.PROBING, error=None, stats=Stats()),
    lambda observer: observer.state_changed(State.PROBING, State.HEALTHY, error=None, stats=Stats()),
    lambda observer: observer.records_dropped(Report()),
    lambda observer: observer.replayed(1, Stats()),
]


def test_each_signal_is_sent_with_the_arguments_that_are_documented():
    seen = {}
    observer = DeliveryLog(EventHubSettings(), write=lambda level, text: None)

    def receiver_of(name):
        def receiver(sender, **values):
            seen[name] = list(values)

        return receiver

    receivers = {name: receiver_of(name) for name in signals.__all__}
    for name, receiver in receivers.items():
        getattr(signals, name).connect(receiver)
    for call in CALLS:
        call(observer)
    for name, receiver in receivers.items():
        getattr(signals, name).disconnect(receiver)
    assert seen == {name: named(getattr(signals, name)) for name in signals.__all__}


def test_the_page_names_each_signal_with_its_arguments():
    rows = dict(re.findall(r"^\| `(\w+)` \|[^|]*\| (.*) \|$", PAGE.split("## Signals")[1], re.MULTILINE))
    assert {name: re.findall(r"`(\w+)`", cell) for name, cell in rows.items()} == {
        name: named(getattr(signals, name)) for name in signals.__all__
    }


def test_the_page_names_each_state_with_those_that_may_follow():
    rows = re.findall(r"^\| `(\w+)` \|.*\| ([^|]*) \|$", PAGE.split("## Lines")[0], re.MULTILINE)
    assert {name: set(re.findall(r"`(\w+)`", cell)) for name, cell in rows} == {
        str(state): {str(follower) for follower in followers} for state, followers in ALLOWED.items()
    }


def test_the_receiver_on_the_page_works(told, capsys):
    [source] = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names = {"__name__": "shop"}
    exec(source, names)
    error = TransientSendError("refused")
    DeliveryLog(EventHubSettings(), write=lambda level, text: told.append(text)).state_changed(
        State.HEALTHY, State.OPEN, error=error, stats=Stats(queued=7)
    )
    assert names["alarms"].get_nowait() == "No logs reach Azure: refused. 7 records wait."
    assert len(told) == 1


def test_signals_are_made_in_one_place_and_are_not_those_of_others():
    assert not any(inspect.ismodule(getattr(signals, name)) for name in signals.__all__)
    from blinker import signal

    assert signal("batch_sent") is not batch_sent
