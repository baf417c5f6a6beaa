"""Where the official package waits for ever, a cut from another thread ends its send."""

import queue
import subprocess
import sys
import threading

import pytest

from hublog.delivery.send_thread import THREAD_NAME, SendThread
from hublog.errors import SendError
from hublog.testing import FakeClock

#: What ends at all has ended long before; what does not, fails the test.
LIMIT_S = 5
#: Longer than all that a send does on its own.
HANG_S = 0.15

pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
    pytest.mark.parametrize("wire", ["plain", "tls", "websocket", "websocket tls"], indirect=True),
]


def bodies(hub):
    return [bytes(event.body) for event in hub.events()]


class Sending:
    """A send in a thread of its own."""

    def __init__(self, sender, act=None):
        self.result = None
        self._act = act or (lambda: sender.send([b"hanging"], {}))
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        try:
            self.result = self._act()
        except SendError as error:
            self.result = error

    def hangs(self):
        self._thread.join(HANG_S)
        return self._thread.is_alive()

    def ends(self):
        self._thread.join(LIMIT_S)
        return not self._thread.is_alive()


FAULTS = [
    pytest.param("silent", {}, id="silent"),
    pytest.param("silent-open", {}, id="silent open"),
    pytest.param("silent-attach", {}, id="silent attach"),
    pytest.param("silent-attach", {"hub": "$cbs"}, id="silent attach for the token"),
    pytest.param("refuse-attach", {"hub": "$cbs", "times": None}, id="no attach for the token"),
    pytest.param("withhold-token", {}, id="withhold token"),
    pytest.param("withhold", {}, id="withhold"),
    pytest.param("swallow", {}, id="swallow"),
    pytest.param("release", {}, id="release"),
    pytest.param("modify", {}, id="modify"),
    pytest.param("reject-short", {}, id="reject short"),
    pytest.param("mute", {}, id="mute"),
    pytest.param("end", {}, id="end"),
]


@pytest.mark.parametrize(("kind", "settings"), FAULTS)
def test_a_send_that_hangs_is_ended_by_one_cut(hub, sender, kind, settings):
    fault = hub.faults.add(kind, **settings)
    sending = Sending(sender)
    assert fault.wait()
    assert sending.hangs()
    sender.cut()
    assert sending.ends()
    assert isinstance(sending.result, SendError)
    # The client would send again at once by itself; a send that was given up is not for it to repeat.
    assert bodies(hub).count(b"hanging") == (1 if kind == "withhold" else 0)


def test_a_second_connection_that_hangs_is_ended_by_the_cut_too(hub, sender):
    hub.faults.add("reject", times=None)
    fault = hub.faults.add("withhold-reply")  # of the request that the client makes after a failure
    sending = Sending(sender)
    assert fault.wait()
    assert sending.hangs()
    sender.cut()
    assert sending.ends()


def test_opening_is_ended_by_a_cut(hub, sender):
    fault = hub.faults.add("silent")
    opening = Sending(sender, sender.open)
    assert fault.wait()
    assert opening.hangs()
    sender.cut()
    assert opening.ends()


def test_a_sender_that_was_cut_sends_again(hub, sender):
    fault = hub.faults.add("release")
    sending = Sending(sender)
    assert fault.wait()
    assert sending.hangs()
    sender.cut()
    assert sending.ends()
    assert sender.send([b"next"], {}) == 1
    assert bodies(hub) == [b"next"]


def test_a_send_that_hangs_is_given_up_and_its_thread_comes_back(hub, make_sender):
    before = threading.enumerate()
    clock, woken = FakeClock(), queue.SimpleQueue()
    send_thread = SendThread(
        make_sender, woken=lambda: woken.put(None), now=clock, limit_s=1.0, enter=lambda: None
    )
    fault = hub.faults.add("mute")
    assert send_thread.offer([b"hanging"], {})
    assert fault.wait()
    clock.advance(1.0)
    assert send_thread.watch()
    woken.get(timeout=LIMIT_S)
    woken.get(timeout=LIMIT_S)
    assert (send_thread.abandoned, send_thread.outcome()) == (0, None)
    assert send_thread.offer([b"next"], {})
    woken.get(timeout=LIMIT_S)
    assert send_thread.outcome().accepted == 1
    assert bodies(hub) == [b"next"]
    send_thread.close()
    for thread in threading.enumerate():
        if thread.name == THREAD_NAME and thread not in before:
            thread.join(LIMIT_S)
            assert not thread.is_alive()


UNDER_GEVENT = """
import sys
from pathlib import Path
from hublog.senders.event_hub import EventHubSender  # before the patch, as a late one finds it
from hublog.settings import EventHubSettings, Transport
from gevent import monkey
monkey.patch_all()
import threading
import gevent

connection_string, transport, certificate = sys.argv[1:]
settings = EventHubSettings(
    connection_string=connection_string,
    eventhub_name="logs",
    transport=Transport(transport),
    ca_file=Path(certificate),
)
sender = EventHubSender(settings)
errors = []

def send():
    try:
        sender.send([b"hanging"], {})
    except Exception as error:
        errors.append(error)

thread = threading.Thread(target=send)
thread.start()
ticks = 0
while thread.is_alive() and ticks < 60:
    gevent.sleep(0.02)
    ticks += 1
print("hangs" if thread.is_alive() else "ended", "others run" if ticks == 60 else "others waited")
sender.cut()
thread.join(5)
print("hangs" if thread.is_alive() else "ended", *[type(error).__name__ for error in errors])
print(sender.send([b"next"], {}))
sender.close()
"""


def test_under_gevent_the_other_greenlets_run_and_the_cut_ends_the_send(hub, wire, certificate):
    hub.faults.add("release")
    transport = "websocket" if wire.startswith("websocket") else "amqp"
    arguments = [hub.connection_string(), transport, str(certificate[0])]
    command = [sys.executable, "-W", "ignore", "-c", UNDER_GEVENT, *arguments]
    found = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert found.stdout.splitlines() == ["hangs others run", "ended TransientSendError", "1"], found.stderr
