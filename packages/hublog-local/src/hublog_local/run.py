"""``hublog local``: a hub in the foreground, and everything that arrives in files."""

import os
import shlex
import signal
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TextIO

from hublog.capture.columns import TABLE
from hublog_local import LocalHub
from hublog_local.errors import LocalHubError
from hublog_local.ingest import Ingester, Intake
from hublog_local.store import DEFAULT_DIRECTORY, Store

#: The name under which an application finds the connection string.
VARIABLE: Final = "EVENTHUB_NAMESPACE_CONNECTION_STRING"
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
#: What each partition keeps in memory for consumers; the rows are in the files.
_RETENTION_BYTES: Final = 64 << 20
#: Times that a message is reported, and number of different messages that are counted.
_MAX_REPORTS: Final = 3
_MAX_PROBLEMS: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class HubOptions:
    """The options of ``hublog local``, as its parser names and explains them; ``hubs`` by name."""

    hubs: Mapping[str, int]
    host: str
    port: int
    directory: Path
    control: Path | None
    ready_file: Path | None
    is_quiet: bool
    tls_cert: Path | None
    tls_key: Path | None


def run_hub(options: HubOptions, *, out: TextIO, report: Callable[[str], None]) -> None:
    """Run a hub until SIGINT or SIGTERM; what has been accepted is stored before this returns.

    The first line of output is the connection string as a shell reads it; the hub is ready by then.

    Args:
        options: what to run.
        out: where the user reads what to do.
        report: called with each problem.

    Raises:
        LocalHubError: the port is taken, or the directory cannot be used.
    """
    report_problem = _Problems(report)
    stop = threading.Event()
    with _signals(stop), Store(options.directory) as store:
        ingester = Ingester(on_refused=report_problem)
        with Intake(store, ingester, on_trouble=report_problem) as intake, _make_hub(options, intake) as hub:
            connection = hub.connection_string()
            _say(out, f"export {VARIABLE}={shlex.quote(connection)}")
            if not options.is_quiet:
                _say(out, _what_next(options, hub.port))
            if options.ready_file is not None:
                _write_whole(options.ready_file, f"{connection}\n")
            try:
                stop.wait()
            finally:
                if options.ready_file is not None:
                    options.ready_file.unlink(missing_ok=True)
        if not options.is_quiet:
            _say(
                out,
                f"Stopped: {ingester.rows_total} rows from {ingester.events_total} events;"
                f" {ingester.malformed_total} lines were not JSON and were skipped,"
                f" {ingester.nulls_total} values did not fit their column,"
                f" {ingester.refused_total} events were refused.",
            )


def _make_hub(options: HubOptions, intake: Intake) -> LocalHub:
    return LocalHub(
        options.hubs,
        host=options.host,
        port=options.port,
        on_event=intake.put,
        retention_bytes=_RETENTION_BYTES,
        control_path=options.control,
        ssl_context=_tls_context(options),
    )


def _tls_context(options: HubOptions) -> ssl.SSLContext | None:
    """Return what makes TLS connections, or None.

    Raises:
        LocalHubError: certificate or key cannot be used.
    """
    if options.tls_cert is None:
        if options.tls_key is not None:
            raise LocalHubError("--tls-key is given without --tls-cert; give the certificate too.")
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(options.tls_cert, options.tls_key)
    except OSError as error:  # ``ssl.SSLError`` is one
        what = " and ".join(str(path) for path in (options.tls_cert, options.tls_key) if path)
        why = "no certificate with its key" if isinstance(error, ssl.SSLError) else error.strerror
        raise LocalHubError(f"TLS cannot be served with {what}: {why}; both must be PEM.") from error
    return context


class _Problems:
    """Reports each problem a few times only, since a producer repeats its mistakes."""

    def __init__(self, report: Callable[[str], None]) -> None:
        self._report = report
        self._counts: Counter[str] = Counter()

    def __call__(self, problem: str) -> None:
        if len(self._counts) >= _MAX_PROBLEMS:
            self._counts.clear()
        self._counts[problem] += 1
        if self._counts[problem] < _MAX_REPORTS:
            self._report(problem)
        elif self._counts[problem] == _MAX_REPORTS:
            self._report(f"{problem} (Not reported again.)")


@contextmanager
def _signals(stop: threading.Event) -> Iterator[None]:
    """Let signals end the hub; for the main thread, since only that one has signals."""
    previous = {number: signal.signal(number, lambda *_: stop.set()) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _what_next(options: HubOptions, port: int) -> str:
    hubs = ", ".join(f"{name} ({partitions} partitions)" for name, partitions in options.hubs.items())
    data = "" if options.directory == DEFAULT_DIRECTORY else f" --data {shlex.quote(str(options.directory))}"
    trust = (
        ""
        if options.tls_cert is None
        else (
            "  With TLS: the application needs EVENTHUB_LOG_CA_FILE with the certificate of the authority"
            f" that signed {options.tls_cert}.\n"
        )
    )
    return (
        f"\nA local Event Hub listens on {options.host}:{port}; stop it with Ctrl-C.\n"
        f"  Event hubs: {hubs}\n"
        f"  Table {TABLE}: {options.directory}\n"
        f"{trust}"
        "\nCopy the first line into the environment of an application, then, in another terminal:\n"
        f"  hublog tail{data}\n"
        f"  hublog query{data} '{TABLE} | summarize count() by level'\n"
    )


def _say(out: TextIO, text: str) -> None:
    out.write(f"{text}\n")
    out.flush()


def _write_whole(path: Path, text: str) -> None:
    """Write a file that is never seen half written, and that only its owner may read: it holds a key."""
    unfinished = path.with_name(f"{path.name}.{os.getpid()}")
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished.unlink(missing_ok=True)  # of an earlier process with this number
    with open(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:  # noqa: PTH123  # it takes the descriptor
        out.write(text)
    unfinished.replace(path)
