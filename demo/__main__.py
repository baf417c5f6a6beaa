"""The main job, end to end: ``python -m demo``, run in the root of the project."""

import argparse
import functools
import secrets
import shutil
import sys
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Final

from rich.progress import TaskID

from demo.arrivals import Query, trail_query, wait_for_arrivals
from demo.interrupts import InterruptedDemoError, Interrupts
from demo.processes import DemoError, Processes, Server
from demo.records import read_complaints, read_log_files
from demo.report import Latency, Report, compare
from demo.screen import Screen
from demo.stage import APPLICATIONS, ROOT, Running, Stage, hublog_command, open_page
from demo.traffic import Exchange, Load, send_all
from hublog.errors import HublogError
from hublog_local.kql import run_kql

_REQUESTS: Final = 500
_CUSTOMERS: Final = 4
_ARRIVAL_LIMIT_S: Final = 20.0
_FAILED: Final = 500
_QUESTION: Final = """'PipelineLogs | where level == "ERROR" | summarize count() by http_route'"""
_SIGNALLED: Final = 128


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("--requests", type=int, default=_REQUESTS, help="how many to send")
    parser.add_argument("--report", type=Path, default=ROOT / "demo-report.json", help="where the figures go")
    parser.add_argument("--folder", type=Path, default=ROOT / ".hublog" / "demo", help="emptied at the start")
    options = parser.parse_args(arguments)
    folder = options.folder.resolve()
    screen, interrupts = Screen(), Interrupts()
    options.report.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        with interrupts.caught(), Processes(folder, interrupts) as processes:
            report = _play(screen, processes, folder, options.requests)
    except InterruptedDemoError as error:
        screen.failed(f"The demo was {error}. Everything that it started has been stopped.")
        return _SIGNALLED + error.signal_number
    except DemoError as error:
        screen.failed(str(error))
        return 1
    report.write(options.report)
    _tell_next(screen, folder, options.report)
    failures = report.failures()
    screen.say()
    for failure in failures:
        screen.failed(failure)
    return 1 if failures else 0


def _play(screen: Screen, processes: Processes, folder: Path, requests: int) -> Report:
    screen.headline("Starting a local hub and three applications")
    password = secrets.token_urlsafe()
    stage = Stage(processes, folder, password=password)
    hub, running = _start(screen, stage)

    screen.headline(f"Sending {requests} requests")
    exchanges = _send(screen, running, requests, password)

    for server in (hub, *(each.server for each in running)):
        server.check_alive()
    screen.headline("Waiting until every record has arrived")
    query = functools.partial(_ask, stage.data)
    wait_for_arrivals(lambda: read_log_files(stage.logs), query, limit_s=_ARRIVAL_LIMIT_S)
    pages = _check_pages(running, stage.token)
    for each in running:
        processes.stop(each.server)
    accepted, arrivals = wait_for_arrivals(
        lambda: read_log_files(stage.logs), query, limit_s=_ARRIVAL_LIMIT_S
    )
    report = Report(
        counts=compare(accepted, arrivals.records, applications=[each.name for each in APPLICATIONS]),
        latency=Latency.of(arrivals.latencies_ms),
        repeated=arrivals.repeated,
        unexplained=(arrivals.records - accepted).total(),
        wrong_answers=[_describe(each) for each in exchanges if each.status != each.expected],
    )
    screen.counts(report)
    screen.say()
    screen.latency(report)
    for complaint in read_complaints(stage.logs)[:5]:
        screen.failed(complaint)
    _show_trail(screen, exchanges, query)
    screen.headline("The pages for the operator answered, for those who have LOG_STATUS_TOKEN")
    for page in pages:
        screen.done(*page)
    return report


def _check_pages(running: Sequence[Running], token: str) -> list[tuple[str, str]]:
    """Open the status page and the metrics of each application; returns the title and address of each.

    Raises:
        DemoError: one does not answer, or answers without the token.
    """
    found = []
    for each in running:
        for name in ("status", "metrics"):
            path = f"/hublog/{name}"
            statuses = open_page(each.port, path, token), open_page(each.port, path)
            if statuses != (HTTPStatus.OK, HTTPStatus.NOT_FOUND):
                raise DemoError(
                    f"{path} of {each.application.name} answered {statuses} with and without token."
                )
            found.append((f"{name} of {each.application.name}", f"http://127.0.0.1:{each.port}{path}"))
    return found


def _start(screen: Screen, stage: Stage) -> tuple[Server, list[Running]]:
    hub = stage.start_hub()
    screen.done("Local Event Hub", "AMQP 1.0, as in Azure")
    stage.prepare_shops()
    screen.done("Two order shops", "databases made, shelves filled")
    servers = [(application, stage.start(application)) for application in APPLICATIONS]
    running = []
    for application, server in servers:
        running.append(stage.wait_until_serving(application, server))
        screen.done(application.title, f"2 workers on http://127.0.0.1:{running[-1].port}")
    return hub, running


def _send(screen: Screen, running: Sequence[Running], requests: int, password: str) -> list[Exchange]:
    exchanges: list[Exchange] = []
    shares = [requests // len(running) + (number < requests % len(running)) for number in range(len(running))]
    with screen.progress("requests", requests) as bar:

        def sent(exchange: Exchange) -> None:
            exchanges.append(exchange)
            bar.advance(TaskID(0))

        loads = [
            Load(
                each.application.name,
                each.port,
                visits=each.application.shop.visits(password),
                requests=share,
            )
            for each, share in zip(running, shares, strict=True)
        ]
        send_all(loads, customers=_CUSTOMERS, sent=sent)
    screen.traffic(exchanges)
    return exchanges


def _ask(data: Path, kql: str) -> list[dict[str, object]]:
    """Answer as ``hublog query`` does."""
    try:
        return run_kql(kql, data).records()
    except HublogError as error:
        raise DemoError(f"The query {kql!r} failed: {error}") from error


def _show_trail(screen: Screen, exchanges: Sequence[Exchange], query: Query) -> None:
    failed = [each for each in exchanges if each.status >= _FAILED and each.method == "POST"]
    if not failed:
        return
    screen.headline("The trail of one failed request")
    kql = trail_query(failed[0].trace_id)
    screen.trail(failed[0], kql, query(kql))


def _tell_next(screen: Screen, folder: Path, report: Path) -> None:
    hublog, data = _short(hublog_command()), _short(folder / "hub")
    screen.headline("What to try next")
    screen.next_steps(
        [
            (
                "Ask a question of your own about these records:",
                f"{hublog} query --data-dir {data} {_QUESTION}",
            ),
            ("Keep a hub running, and point an application at it:", f"{hublog} local"),
            ("Watch what arrives:", f"{hublog} tail"),
            ("Run a shop by hand, also against Azure:", "example_flask/README.md, example_django/README.md"),
            ("Read the figures of this run:", _short(report)),
        ]
    )


def _short(path: Path) -> str:
    """Return a path as one would type it here."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _describe(exchange: Exchange) -> str:
    got = exchange.detail or f"status {exchange.status}"
    return (
        f"{exchange.method} {exchange.path} of {exchange.application}: {got} instead of {exchange.expected}"
    )


if __name__ == "__main__":
    sys.exit(main())
