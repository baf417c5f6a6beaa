import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import pytest

from hublog.runtime import server_advice
from hublog.runtime.server_advice import (
    FORMER,
    IS_MAIN_INTERPRETER,
    THIS_PROCESS,
    Adviser,
    ServerView,
    Way,
    advice,
    leave_signals,
    why_no_thread,
)
from hublog.settings import EventHubSettings, SpoolMode
from hublog.testing import FakeClock

SOURCE = Path(server_advice.__file__).parents[1]
CONNECTED = "Endpoint=sb://127.0.0.1:1;SharedAccessKeyName=n;SharedAccessKey=k;UseDevelopmentEmulator=true"
MODES = (SpoolMode.MEMORY, SpoolMode.OVERFLOW)


def make_settings(spool=SpoolMode.OVERFLOW, **values):
    return EventHubSettings(**{"connection_string": CONNECTED, "spool": spool, **values})


def make_view(modules=None, *, handler=signal.SIG_DFL, main_modules=(), ways=()):
    return ServerView(
        modules=modules or {},
        term_handler=lambda: handler,
        main_modules=lambda: frozenset(main_modules),
        ways=frozenset(ways),
    )


def method_of(module, **attributes):
    """Return a bound method of an object whose class says that it is defined in a module."""
    kind = type("Server", (), {"handle_exit": lambda self, number, frame: None, "__module__": module})
    server = kind()
    vars(server).update(attributes)
    return server.handle_exit


def uwsgi(has_threads=1, **options):
    opt = {"http-socket": b"127.0.0.1:0", "master": True}
    return SimpleNamespace(has_threads=has_threads, opt={**opt, **options})


# Threads.


def test_a_thread_may_be_started_in_an_ordinary_process():
    assert why_no_thread() == ""


def test_no_thread_may_be_started_in_a_sub_interpreter():
    assert "sub-interpreter" in why_no_thread({}, is_main=False)


@pytest.mark.parametrize(
    ("module", "has_thread"),
    [
        pytest.param(uwsgi(1), True, id="has_threads-1"),
        pytest.param(uwsgi(0), False, id="has_threads-0"),
        pytest.param(SimpleNamespace(opt={}), False, id="neither-told"),
        pytest.param(SimpleNamespace(opt={"enable-threads": True}), True, id="enable-threads"),
        pytest.param(SimpleNamespace(opt={"enable-threads": b"false"}), False, id="enable-threads-false"),
        pytest.param(SimpleNamespace(opt={"threads": b"1"}), True, id="threads"),
        pytest.param(SimpleNamespace(opt=None), False, id="no-options"),
    ],
)
def test_uwsgi_has_threads_where_it_says_so_or_its_options_do(module, has_thread):
    assert (why_no_thread({"uwsgi": module}) == "") is has_thread


def test_the_reason_names_the_option_of_uwsgi():
    assert "enable-threads = true" in why_no_thread({"uwsgi": uwsgi(0)})


IN_SUB_INTERPRETER = """
import sys, types
package = types.ModuleType("hublog")
package.__path__ = [{source!r}]
sys.modules["hublog"] = package  # an extension that it needs does not load in isolated ones
from hublog.runtime.server_advice import IS_MAIN_INTERPRETER, why_no_thread
print(IS_MAIN_INTERPRETER, why_no_thread()[:26], flush=True)
"""
MAKE_SUB_INTERPRETER = """
import sys
from hublog.runtime.server_advice import IS_MAIN_INTERPRETER  # 3.11 compiles nothing behind a sub-interpreter
code = {code!r}
if sys.version_info >= (3, 13):
    import _interpreters
    number = _interpreters.create({kind!r})
    print(_interpreters.exec(number, code) or "", flush=True)
    _interpreters.destroy(number)
else:
    import _xxsubinterpreters
    number = _xxsubinterpreters.create(isolated={kind!r} == "isolated")
    _xxsubinterpreters.run_string(number, code)
    _xxsubinterpreters.destroy(number)
print(IS_MAIN_INTERPRETER)
"""


@pytest.mark.parametrize("kind", ["isolated", "legacy"])
def test_a_real_sub_interpreter_knows_itself(kind):
    code = MAKE_SUB_INTERPRETER.format(code=IN_SUB_INTERPRETER.format(source=str(SOURCE)), kind=kind)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    lines = [line for line in done.stdout.splitlines() if line]
    assert lines == ["False this is a sub-interpreter ", "True"], done.stderr


def test_this_is_the_main_interpreter():
    assert IS_MAIN_INTERPRETER


# Signals.

BLOCKED_IN_MAIN = """
import os, signal, sys, threading
{patch}
from hublog.runtime.server_advice import leave_signals

is_up, is_over = threading.Event(), threading.Event()

def work():
    leave_signals()
    is_up.set()
    is_over.wait(30)

signal.signal(signal.SIGTERM, lambda *_: print("interrupted"))
thread = threading.Thread(target=work)
thread.start()
is_up.wait(30)
signal.pthread_sigmask(signal.SIG_BLOCK, {{signal.SIGTERM}})
os.kill(os.getpid(), signal.SIGTERM)
print("pending" if signal.SIGTERM in signal.sigpending() else "taken")
signal.pthread_sigmask(signal.SIG_UNBLOCK, {{signal.SIGTERM}})
is_over.set()
thread.join()
"""


@pytest.mark.parametrize("patch", ["", "from gevent import monkey; monkey.patch_all()"], ids=["", "gevent"])
def test_a_signal_waits_for_the_main_thread_that_blocks_it(patch):
    if patch:
        pytest.importorskip("gevent")
    code = BLOCKED_IN_MAIN.format(patch=patch)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.split() == ["pending", "interrupted"]


def test_the_main_thread_goes_on_taking_signals():
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    leave_signals()
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before


# Nothing to say.


@pytest.mark.parametrize("spool", SpoolMode)
def test_a_test_run_is_told_nothing(spool):
    assert advice(make_settings(spool), THIS_PROCESS) == []


@pytest.mark.parametrize(
    "modules",
    [
        pytest.param(("uvicorn", "uvicorn.server", "uvicorn.config"), id="uvicorn"),
        pytest.param(("waitress", "waitress.server"), id="waitress"),
        pytest.param(("gunicorn", "gunicorn.workers.base"), id="gunicorn"),
        pytest.param(("celery", "billiard", "billiard.process"), id="celery"),
        pytest.param(("pyuwsgi",), id="pyuwsgi"),
        pytest.param(("werkzeug.serving", "flask.cli"), id="flask-run"),
        pytest.param(("django.core.management.commands.runserver",), id="runserver"),
    ],
)
@pytest.mark.parametrize("spool", SpoolMode)
def test_what_is_merely_imported_is_not_taken_for_the_server(spool, modules):
    view = make_view(dict.fromkeys(modules, SimpleNamespace()), main_modules=("__main__", *modules[2:]))
    assert advice(make_settings(spool), view) == []


GUILTY = make_view(
    {"uwsgi": uwsgi(0, **{"skip-atexit": True})}, handler=method_of("uvicorn.server", started=True)
)


@pytest.mark.parametrize(
    "values",
    [
        pytest.param({"enabled": False}, id="switched-off"),
        pytest.param({"connection_string": ""}, id="no-hub"),
    ],
)
def test_nothing_is_told_where_nothing_is_sent(values):
    assert advice(make_settings(), GUILTY)
    assert advice(make_settings(**values), GUILTY) == []


# uWSGI.


@pytest.mark.parametrize("spool", SpoolMode)
def test_uwsgi_without_threads_is_told_in_every_mode(spool):
    (line,) = advice(make_settings(spool), make_view({"uwsgi": uwsgi(0)}))
    assert "enable-threads = true" in line
    assert ("in memory" in line) is (spool is SpoolMode.MEMORY)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        pytest.param({"skip-atexit": True}, "skip-atexit", id="skip-atexit"),
        pytest.param({"skip-atexit": b"true"}, "skip-atexit", id="skip-atexit-in-a-file"),
        pytest.param({"skip-atexit-teardown": True}, "skip-atexit-teardown", id="teardown"),
        pytest.param({"gevent": b"100"}, "gevent", id="gevent"),
        pytest.param({"gevent": [b"1", b"100"]}, "gevent", id="given-twice"),
        pytest.param({"async": b"10"}, "async", id="async"),
    ],
)
@pytest.mark.parametrize("spool", MODES)
def test_an_option_of_uwsgi_that_skips_exit_hooks_is_named(spool, options, named):
    (line,) = advice(make_settings(spool), make_view({"uwsgi": uwsgi(**options)}))
    assert f"with {named}," in line


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="none"),
        pytest.param({"skip-atexit": b"false"}, id="switched-off"),
        pytest.param({"skip-atexit": []}, id="empty"),
        pytest.param({"gevent": b"1"}, id="one-greenlet"),
        pytest.param({"gevent": b"many"}, id="no-number"),
        pytest.param({"max-requests": b"20"}, id="max-requests"),
        pytest.param({"lazy-apps": True}, id="lazy-apps"),
    ],
)
def test_other_options_of_uwsgi_are_not_told(options):
    assert advice(make_settings(), make_view({"uwsgi": uwsgi(**options)})) == []


# uvicorn and waitress.


@pytest.mark.parametrize("spool", MODES)
def test_uvicorn_alone_is_told_all_three_ways_out_in_one_line(spool):
    (line,) = advice(make_settings(spool), make_view(handler=method_of("uvicorn.server", started=True)))
    assert "\n" not in line
    for word in ("hublog.asgi.lifespan", "EVENTHUB_LOG_FLUSH_ON_SIGTERM=true", "EVENTHUB_LOG_SPOOL=always"):
        assert word in line


@pytest.mark.parametrize(
    ("values", "view"),
    [
        pytest.param({"spool": SpoolMode.ALWAYS}, {}, id="always"),
        pytest.param({"flush_on_sigterm": True}, {}, id="hook-set"),
        pytest.param({}, {"ways": {Way.HOOK}}, id="hook-installed"),
        pytest.param({}, {"ways": {Way.WRAPPER, Way.LIFESPAN}}, id="lifespan"),
        pytest.param({}, {"handler": method_of("uvicorn.server", started=False)}, id="still-importing"),
        pytest.param({}, {"handler": method_of("uvicorn.supervisors.multiprocess")}, id="its-supervisor"),
        pytest.param({}, {"handler": lambda number, frame: None}, id="another-handler"),
    ],
)
def test_uvicorn_is_not_told_where_a_way_is_taken_or_nothing_is_known_yet(values, view):
    view = {"handler": method_of("uvicorn.server", started=True), **view}
    assert advice(make_settings(**values), make_view(**view)) == []


def test_a_wrapper_that_uvicorn_does_not_reach_is_told():
    handler = method_of("uvicorn.server", started=True)
    (line,) = advice(make_settings(), make_view(handler=handler, ways={Way.WRAPPER}))
    assert "--lifespan off" in line


WAITRESS = {"waitress.server": SimpleNamespace()}
SERVING = ("__main__", "waitress.runner", "waitress.server", "waitress.wasyncore")


@pytest.mark.parametrize("spool", MODES)
def test_waitress_with_the_default_action_is_told(spool):
    (line,) = advice(make_settings(spool), make_view(WAITRESS, main_modules=SERVING))
    assert "EVENTHUB_LOG_FLUSH_ON_SIGTERM=true or EVENTHUB_LOG_SPOOL=always" in line


@pytest.mark.parametrize(
    ("values", "view"),
    [
        pytest.param({"spool": SpoolMode.ALWAYS}, {}, id="always"),
        pytest.param({"flush_on_sigterm": True}, {}, id="hook-set"),
        pytest.param({}, {"handler": sys.exit}, id="a-handler"),
        pytest.param({}, {"main_modules": ("pytest", "webtest.http")}, id="not-in-the-main-thread"),
    ],
)
def test_waitress_is_not_told_where_it_does_no_harm(values, view):
    view = make_view(WAITRESS, **{"main_modules": SERVING, **view})
    assert advice(make_settings(**values), view) == []


# gunicorn.


def gunicorn(**values):
    values = {"graceful_timeout": 30, "timeout": 30, **values}
    return method_of("gunicorn.workers.base", cfg=SimpleNamespace(**values))


@pytest.mark.parametrize(
    ("values", "named"),
    [
        pytest.param({"graceful_timeout": 2}, "graceful_timeout (2 s)", id="graceful"),
        pytest.param({"timeout": 3}, "timeout (3 s)", id="timeout"),
        pytest.param(
            {"graceful_timeout": 1, "timeout": 1}, "graceful_timeout (1 s) and timeout (1 s)", id="both"
        ),
    ],
)
def test_gunicorn_that_kills_too_early_is_told_in_memory_mode(values, named):
    view = make_view(handler=gunicorn(**values))
    (line,) = advice(make_settings(SpoolMode.MEMORY, exit_timeout_seconds=5.0), view)
    assert f"raise {named}," in line
    assert "5 s" in line


def test_gunicorn_is_seen_behind_a_handler_that_names_it():
    front = SimpleNamespace(**{FORMER: gunicorn(timeout=1)})
    assert advice(make_settings(SpoolMode.MEMORY), make_view(handler=front))


@pytest.mark.parametrize(
    ("spool", "values"),
    [
        pytest.param(SpoolMode.MEMORY, {}, id="long-enough"),
        pytest.param(SpoolMode.MEMORY, {"timeout": 0}, id="no-limit"),
        pytest.param(SpoolMode.OVERFLOW, {"timeout": 1}, id="a-disk-has-them-first"),
    ],
)
def test_gunicorn_is_not_told_where_nothing_is_lost(spool, values):
    assert advice(make_settings(spool), make_view(handler=gunicorn(**values))) == []


# Celery.


def celery(name="ForkPoolWorker-1", index=0, *, more=()):
    process = SimpleNamespace(name=name, index=index)
    modules = {
        "celery": SimpleNamespace(),
        "billiard.process": SimpleNamespace(current_process=lambda: process),
    }
    return make_view({**modules, **dict.fromkeys(more, SimpleNamespace())})


@pytest.mark.parametrize("spool", MODES)
@pytest.mark.parametrize("name", ["ForkPoolWorker-1", "SpawnPoolWorker-1", "ForkPoolWorker-2"])
def test_the_first_child_of_a_celery_pool_is_told(spool, name):
    (line,) = advice(make_settings(spool), celery(name))
    assert "import hublog.celery" in line


@pytest.mark.parametrize(
    ("spool", "view"),
    [
        pytest.param(SpoolMode.ALWAYS, celery(), id="always"),
        pytest.param(SpoolMode.OVERFLOW, celery(more=["hublog.celery"]), id="imported"),
        pytest.param(SpoolMode.OVERFLOW, celery("MainProcess", -1), id="the-worker-itself"),
        pytest.param(SpoolMode.OVERFLOW, celery("ForkPoolWorker-3", 2), id="another-child"),
        pytest.param(SpoolMode.OVERFLOW, celery("ForkPoolWorker-9", 0), id="a-later-life"),
        pytest.param(SpoolMode.OVERFLOW, celery("Beat-1", 0), id="no-pool"),
    ],
)
def test_celery_is_not_told_where_it_does_no_harm_or_another_child_tells_it(spool, view):
    assert advice(make_settings(spool), view) == []


# Again and again.


def test_an_adviser_tells_each_line_once():
    clock = FakeClock()
    adviser = Adviser(make_settings(), make_view({"uwsgi": uwsgi(gevent=b"10")}), now=clock)
    assert len(adviser.look()) == 1
    clock.advance(60.0)
    assert adviser.look() == []


def test_an_adviser_waits_for_a_server_that_still_imports_the_application():
    clock, handler = FakeClock(), method_of("uvicorn.server", started=False)
    adviser = Adviser(make_settings(), make_view(handler=handler), now=clock)
    assert adviser.look() == []
    handler.__self__.started = True
    assert adviser.look() == []  # not within the same second
    clock.advance(1.0)
    assert len(adviser.look()) == 1


# The process itself.


def test_the_stack_of_the_main_thread_is_seen_from_another_thread():
    found = []
    thread = threading.Thread(target=lambda: found.append(THIS_PROCESS.main_modules()))
    thread.start()
    thread.join()
    assert __name__ in found[0]
    assert "threading" in found[0]  # the join


# Real servers.

APP = """
import os, sys
from hublog.asgi import lifespan
from hublog.runtime.server_advice import THIS_PROCESS, advice, why_no_thread
from hublog.settings import EventHubSettings

def told():
    settings = EventHubSettings(fully_qualified_namespace="shop.servicebus.windows.net")
    return f"{why_no_thread()}|{' '.join(advice(settings, THIS_PROCESS))}".encode()

def app(environ, start):
    start("200 OK", [])
    return [told()]

async def bare(scope, receive, send):
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": told()})

wrapped = lifespan(bare) if os.environ.get("WRAP") else bare
if "flask" in sys.modules:
    site = sys.modules["flask"].Flask("site")
    site.wsgi_app = app
"""
UWSGI = str(Path(sys.executable).with_name("uwsgi"))
PORT = "{port}"


def module(name, *options):
    return [sys.executable, "-m", name, *options]


def uwsgi_command(*options):
    command = [UWSGI, "--http-socket", f"127.0.0.1:{PORT}", "--virtualenv", sys.prefix, "--module", "app:app"]
    return [*command, "--need-app", "--master", "--die-on-term", *options]


@pytest.mark.parametrize(
    ("command", "wrap", "words"),
    [
        pytest.param(uwsgi_command(), "", (), id="uwsgi"),
        pytest.param(uwsgi_command("--skip-atexit"), "", ("skip-atexit",), id="uwsgi-skip-atexit"),
        pytest.param(
            module("uvicorn", "--port", PORT, "app:bare"),
            "",
            ("lifespan", "EVENTHUB_LOG_FLUSH_ON_SIGTERM", "always"),
            id="uvicorn",
        ),
        pytest.param(module("uvicorn", "--port", PORT, "app:wrapped"), "yes", (), id="uvicorn-wrapped"),
        pytest.param(
            module("uvicorn", "--port", PORT, "--lifespan", "off", "app:wrapped"),
            "yes",
            ("--lifespan off",),
            id="uvicorn-lifespan-off",
        ),
        pytest.param(module("hypercorn", "--bind", f"127.0.0.1:{PORT}", "app:bare"), "", (), id="hypercorn"),
        pytest.param(
            module("waitress", f"--listen=127.0.0.1:{PORT}", "app:app"),
            "",
            ("EVENTHUB_LOG_FLUSH_ON_SIGTERM", "always"),
            id="waitress",
        ),
        pytest.param(module("gunicorn", "--bind", f"127.0.0.1:{PORT}", "app:app"), "", (), id="gunicorn"),
        pytest.param(module("flask", "--app", "app:site", "run", "--port", PORT), "", (), id="flask-run"),
    ],
)
def test_a_real_server_is_told_what_it_costs(tmp_path, unused_port, command, wrap, words):
    if command[1] == "-m":
        pytest.importorskip(command[2])
    elif not Path(UWSGI).exists():
        pytest.skip("uWSGI is not installed")
    (tmp_path / "app.py").write_text(APP)
    with (tmp_path / "out").open("wb") as out:
        server = subprocess.Popen(
            [part.replace(PORT, str(unused_port)) for part in command],
            cwd=tmp_path,
            env={**os.environ, "WRAP": wrap},
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        reason, told = fetch(f"http://127.0.0.1:{unused_port}/", server).split("|")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait(10)
    assert reason == ""  # threads may be started in all of them
    assert bool(told) is bool(words)
    assert [word for word in words if word not in told] == []


def test_a_plain_script_and_a_shell_are_told_nothing(tmp_path):
    code = APP + "print(told())"
    for options, typed in ((["-c", code], ""), (["-i"], f"exec({code!r})\n")):
        done = subprocess.run(
            [sys.executable, *options], input=typed, capture_output=True, text=True, timeout=60, check=True
        )
        assert done.stdout.strip() == "b'|'"


def fetch(address, server, tries=400):
    """Ask a server that may not listen yet."""
    never = threading.Event()
    for _ in range(tries):
        try:
            with urllib.request.urlopen(address, timeout=10) as answer:
                return answer.read().decode()
        except OSError:
            assert server.poll() is None
            never.wait(0.05)
    raise AssertionError("it never listened")


@pytest.fixture
def unused_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]
