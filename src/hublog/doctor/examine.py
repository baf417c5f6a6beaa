"""All steps of the doctor, in the order in which a record would meet them."""

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from hublog._version import __version__
from hublog.capture.removal import findings
from hublog.capture.resource import is_named
from hublog.capture.service_name import default_name
from hublog.configure.handlers import EVENT_HUB, AttachedHandler, contradictions, reaches_event_hub
from hublog.doctor.destinations import (
    Target,
    destinations_text,
    has_destination,
    secrets_of,
    target_of,
    target_text,
)
from hublog.doctor.network import look_at_hub, look_at_network
from hublog.doctor.offline_checks import LookAtSpool, log_files, look_at_files, look_at_spool, misspelt
from hublog.doctor.steps import Budget, Result, Status, TookTooLongError, fail, ok, warn, within
from hublog.errors import HublogError
from hublog.requests.request_scope import LOGGER_NAME as REQUESTS
from hublog.runtime.server_advice import advice
from hublog.settings import Reading, Settings, SpoolMode

_PACKAGES: Final = {"": (), "django": ("Django",), "flask": ("Flask",)}
_NOT_CONFIGURED: Final = (
    "Set EVENTHUB_NAMESPACE_CONNECTION_STRING (or EVENTHUB_FULLY_QUALIFIED_NAMESPACE), or"
    " EVENTHUB_LOGGING_ENABLED=false to say that it is meant so."
)
_NO_PROXY: Final = "Correct it, or set EVENTHUB_LOG_PROXY, or add the namespace to NO_PROXY."
_HIDDEN: Final = "***"
NO_REQUESTS: Final = f"request records, those of the logger {REQUESTS}, reach no EventHubHandler"
REACH_REQUESTS: Final = f"Put the handler on the root logger, or on the logger {REQUESTS} too."

FindAttached = Callable[[], Sequence[AttachedHandler] | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """What is examined.

    Attributes:
        reading: the settings in force, and what is wrong with them.
        framework: ``django``, ``flask`` or empty.
        names: what the framework's configuration holds, by name.
        find_results: returns what the framework itself has found.
        find_log_files: returns the log files; by default the one of the settings.
        find_attached: returns the handlers of the application's process; None where none is loaded.
        look_at_spool: tells what waits there.
        is_sent: whether to send one record.
        client_options: more keywords for the client, such as the certificates that it trusts.
        budget: how long it may take.
    """

    reading: Reading
    framework: str = ""
    names: Mapping[str, object] = field(default_factory=dict)
    find_results: Callable[[], Sequence[Result]] = tuple
    find_log_files: Callable[[Settings], Sequence[Path]] = log_files
    find_attached: FindAttached = lambda: None
    look_at_spool: LookAtSpool
    is_sent: bool = False
    client_options: Mapping[str, object] = field(default_factory=dict)
    budget: Budget = field(default_factory=Budget)


def examine(patient: Patient) -> Iterator[Result]:
    """Yield the results as they come; never raises, and takes half a minute at most."""
    secrets = secrets_of(patient.reading.settings.eventhub)
    for result in _steps(patient):
        yield _without(secrets, result)


def _steps(patient: Patient) -> Iterator[Result]:
    settings = patient.reading.settings
    yield _versions(patient.framework)
    yield from _settings(patient.reading)
    yield from _guarded("settings", _misspelt(patient))
    yield from _guarded("destinations", _destinations(patient))
    yield from _guarded("way", _way(patient, settings))
    yield from _guarded("disk", _places(patient, settings))
    yield from _guarded("server", _server(settings))
    yield from _guarded(patient.framework, _framework(patient))


def _guarded(what: str, steps: Iterator[Result]) -> Iterator[Result]:
    """Yield results; what nobody has thought of ends these steps, and not the others."""
    try:
        yield from steps
    except HublogError as error:
        yield fail(what, str(error), "Change what it says, and try again.")
    except Exception as error:  # noqa: BLE001  # a text of unknown origin may hold anything
        yield fail(what, f"a step ended with {type(error).__name__}", "Please report this to hublog.")


def _framework(patient: Patient) -> Iterator[Result]:
    try:
        yield from within(patient.budget.open_s(), patient.find_results)
    except TookTooLongError:
        yield fail(patient.framework, "its checks did not end in time", "See what they are waiting for.")


def _versions(framework: str) -> Result:
    python = ".".join(map(str, sys.version_info[:3]))
    names = ["azure-eventhub", *_PACKAGES.get(framework, ())]
    found = {name: _version_of(name) for name in names}
    shown = [f"{name} {number or '(missing)'}" for name, number in found.items()]
    text = ", ".join([f"Python {python}", f"hublog {__version__}", *shown])
    missing = [name for name, number in found.items() if not number]
    if missing:
        return fail("versions", text, f"Install what is missing: pip install {' '.join(missing)}.")
    return ok("versions", text)


def _version_of(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _settings(reading: Reading) -> Iterator[Result]:
    if not reading.problems:
        yield ok("settings", f"all are valid{_unnamed(reading.settings)}")
    for problem in reading.problems:
        yield fail("settings", problem, "Until then its default is in force.")
    for override in reading.overrides:
        yield warn("settings", override.text, "Set it in one place, or to the same value in both.")
    for text in reading.quoted_text:
        yield warn("settings", text, "docker run --env-file keeps quotation marks, a shell removes them.")


def _unnamed(settings: Settings) -> str:
    """Return what to say where nobody has named the service, which every query groups by."""
    if is_named(settings.service):
        return ""
    return f"; LOG_SERVICE_NAME is not set, so service_name is {default_name()!r}"


def _misspelt(patient: Patient) -> Iterator[Result]:
    for place, names in (("the configuration", patient.names), ("the environment", os.environ)):
        for name, meant in misspelt(names):
            yield warn("settings", f"{name} in {place} has no effect", f"{meant} is the name of a setting.")


def _destinations(patient: Patient) -> Iterator[Result]:
    settings, attached = patient.reading.settings, patient.find_attached()
    text = destinations_text(settings, attached)
    if not has_destination(settings, attached):
        yield warn("destinations", text, "Every record is lost: switch one of them on.")
        return
    yield ok("destinations", text)
    if attached is None:
        return
    for sentence in findings():
        text, _, hint = sentence.partition(": ")
        yield warn("destinations", text, f"{hint[:1].upper()}{hint[1:]}")
    for sentence in contradictions(patient.reading):
        yield warn("destinations", sentence, "Change the setting or the handler, so that both say the same.")
    hub = settings.eventhub
    has_hub = hub.enabled and hub.is_configured and any(each.kind == EVENT_HUB for each in attached)
    if has_hub and settings.request.access_records and not reaches_event_hub(REQUESTS):
        yield warn("destinations", NO_REQUESTS, REACH_REQUESTS)


def _way(patient: Patient, settings: Settings) -> Iterator[Result]:
    if not settings.eventhub.enabled:
        return
    if not settings.eventhub.is_configured:
        yield fail("connection", "no connection to an Event Hub is configured", _NOT_CONFIGURED)
        return
    target = target_of(settings.eventhub)
    result = _connection(target)
    yield result
    if result.status is Status.FAIL and not target.route.expires_at:  # the clock may be wrong
        return
    is_reached = True
    for step in look_at_network(target.route, patient.budget, roots=_roots(patient)):
        is_reached = is_reached and step.status is not Status.FAIL
        yield step
    if is_reached:
        yield from look_at_hub(
            settings,
            patient.budget,
            framework=patient.framework,
            is_sent=patient.is_sent,
            client_options=patient.client_options,
        )


def _connection(target: Target) -> Result:
    text, route = target_text(target), target.route
    if route.proxy_problem:
        return fail("connection", f"{text}; {route.proxy_problem.removesuffix('.')}", _NO_PROXY)
    if route.is_websocket and not _version_of("websocket-client"):
        return fail("connection", text, "It needs websocket-client: pip install 'hublog[websocket]'.")
    if route.has_identity:
        number = _version_of("azure-identity")
        if not number:
            return fail("connection", text, "It needs azure-identity: pip install 'hublog[identity]'.")
        return ok("connection", f"{text}, by azure-identity {number}")
    if route.expires_at is not None and route.expires_at <= datetime.now(UTC):
        return fail("connection", text, "It has expired: make a new one, or use a key.")
    return ok("connection", text)


def _roots(patient: Patient) -> str:
    import certifi  # noqa: PLC0415  # what the client itself trusts

    return str(patient.client_options.get("connection_verify") or certifi.where())


def _places(patient: Patient, settings: Settings) -> Iterator[Result]:
    hub = settings.eventhub
    if hub.enabled and hub.spool is not SpoolMode.MEMORY:
        yield look_at_spool(settings.spool_dir, hub, patient.look_at_spool, patient.budget)
    yield from look_at_files(patient.find_log_files(settings), log_files(settings), patient.budget)


def _server(settings: Settings) -> Iterator[Result]:
    for line in advice(settings.eventhub):
        text, _, hint = line.rpartition(": ")
        yield warn(
            "server", text or line, f"{hint[:1].upper()}{hint[1:]}" if text else "See docs/promises.md."
        )


def _without(secrets: Sequence[str], result: Result) -> Result:
    """Return a result in which no secret stands, whoever quoted it."""
    detail, hint = result.detail, result.hint
    for secret in secrets:
        detail, hint = detail.replace(secret, _HIDDEN), hint.replace(secret, _HIDDEN)
    return replace(result, detail=detail, hint=hint)
