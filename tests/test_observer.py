import logging

from hublog.delivery.stats import Drop, Stats
from hublog.errors import TransientSendError
from hublog.observer import REPEAT_S, Observer
from hublog.settings import EventHubSettings
from hublog.testing import FakeClock


def make():
    clock, told = FakeClock(), []
    return (
        clock,
        told,
        Observer(EventHubSettings(), tell=lambda level, text: told.append((level, text)), now=clock),
    )


def dropped(**reasons):
    return Stats(dropped={Drop[name.upper()]: number for name, number in reasons.items()})


def test_an_outage_is_one_line_at_its_beginning_and_one_at_its_end():
    clock, told, observer = make()
    for _ in range(5):
        observer.send_failed(TransientSendError("refused"), Stats())
    clock.advance(12)
    for _ in range(3):
        observer.send_succeeded(Stats(queued=7))
    assert [level for level, _ in told] == [logging.ERROR, logging.INFO]
    assert "refused" in told[0][1]
    assert "12 s; 7 records" in told[1][1]


def test_drops_are_told_by_number_and_reason_once_a_minute():
    clock, told, observer = make()
    observer.send_succeeded(dropped(queue_full=5))
    observer.send_succeeded(dropped(queue_full=9))
    clock.advance(REPEAT_S)
    observer.send_succeeded(dropped(queue_full=9, too_large=1))
    assert [text.split(" were")[0] for _, text in told] == ["5 records", "5 records"]
    assert "queue_full 9, too_large 1" in told[1][1]


def test_the_end_tells_what_was_not_told_yet():
    _, told, observer = make()
    observer.send_succeeded(dropped(queue_full=5))
    observer.end(dropped(queue_full=8, exit=4))
    assert [text.split(" were")[0] for _, text in told] == ["5 records", "3 records"]


def test_what_is_told_elsewhere_is_not_told_again():
    _, told, observer = make()
    observer.end(dropped(exit=4, not_configured=9))
    assert told == []
