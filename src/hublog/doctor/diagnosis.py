"""All steps of the doctor, in the order that a record takes."""

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from hublog._version import __version__
from hublog.capture.resource import default_name, is_named
from hublog.configure.handlers import EVENT_HUB, AttachedHandler, contradictions, reaches_event_hub
from hublog.doctor.attached_handlers import check_handlers
from hublog.doctor.connection_checks import check_event_hub, check_network
from hublog.doctor.destinations import (
    Target,
    destinations_text,
    has_destination,
    secrets_of,
    target_of,
    target_text,
)
from hublog.doctor.offline_checks import CheckSpoolContent, check_disk, log_files, misspelt
from hublog.doctor.steps import (
    StepResult,
    StepStatus,
    StepTimeoutError,
    TimeBudget,
    fail,
    ok,
    run_with_timeout,
    warn,
)
from hublog.errors import HublogError
from hublog.requests.request_record import LOGGER_NAME as REQUESTS
from hublog.runtime.handler_watch import findings
from hublog.runtime.server_advice import advice
from hublog.settings import Reading, Settings

_PACKAGES: Final = {"": (), "django": ("Django",), "flask": ("Flask",)}
_NOT_CONFIGURED: Final = (
    "Set EVENTHUB_NAMESPACE_CONNECTION_STRING (or EVENTHUB_FULLY_QUALIFIED_NAMESPACE), or"
    " EVENTHUB_LOGGING_ENABLED=false to disable it explicitly."
)
_NO_PROXY: Final = "Correct it, or set EVENTHUB_LOG_PROXY, or add the namespace to NO_PROXY."
_HIDDEN: Final = "***"
NO_REQUESTS: Final = f"request records (logger {REQUESTS}) reach no EventHubHandler"
REACH_REQUESTS: Final = f"Attach the handler to the root logger, or also to the logger {REQUESTS}."

FindAttached = Callable[[], Sequence[AttachedHandler] | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorInput:
    """What the doctor is given.

    Attributes:
        framework: ``django``, ``flask`` or empty.
        find_results: returns the results of the framework's own checks.
        find_log_files: returns the log files; by default the one of the settings.
        find_attached: returns the handlers of the application's process; None where none is loaded.
        check_processes: looks at the running processes with a spool; None where it cannot know them.
        client_options: more keywords for the client, such as the certificates that it trusts.
    """

    reading: Reading
    framework: str = ""
    names: Mapping[str, object] = field(default_factory=dict)
    find_results: Callable[[], Sequence[StepResult]] = tuple
    find_log_files: Callable[[Settings], Sequence[Path]] = log_files
    find_attached: FindAttached = lambda: None
    check_spool_content: CheckSpoolContent
    check_processes: Callable[[Path], StepResult | None] = lambda _: None
    sends_record: bool = False
    client_options: Mapping[str, object] = field(default_factory=dict)
    budget: TimeBudget = field(default_factory=TimeBudget)


def diagnose(inputs: DoctorInput) -> Iterator[StepResult]:
    """Run the steps and yield their results; never raises, and takes at most half a minute."""
    secrets = secrets_of(inputs.reading.settings.eventhub)
    for result in _steps(inputs):
        yield _without(secrets, result)


def _steps(inputs: DoctorInput) -> Iterator[StepResult]:
    settings = inputs.reading.settings
    yield _versions(inputs.framework)
    yield from _settings(inputs.reading)
    yield from _guarded("settings", _misspelt_names(inputs))
    yield from _guarded("destinations", _destinations(inputs))
    has_application = inputs.find_attached() is not None
    yield from _guarded("handlers", check_handlers(settings, has_application=has_application))
    yield from _guarded("connection", _connection_steps(inputs, settings))
    yield from _guarded("disk", _disk_steps(inputs, settings))
    yield from _guarded("processes", _process_steps(inputs, settings))
    yield from _guarded("server", _server_steps(settings))
    yield from _guarded(inputs.framework, _framework_steps(inputs))


def _guarded(what: str, steps: Iterator[StepResult]) -> Iterator[StepResult]:
    """Yield results; an unexpected error ends these steps, not the others."""
    try:
        yield from steps
    except HublogError as error:
        yield fail(what, str(error), "Correct what the message names, and run the doctor again.")
    except Exception as error:  # noqa: BLE001  # its text may hold a secret
        yield fail(
            what,
            f"an unexpected {type(error).__name__} ended this check",
            "This is a bug in hublog: please report it.",
        )


def _framework_steps(inputs: DoctorInput) -> Iterator[StepResult]:
    try:
        yield from run_with_timeout(inputs.budget.open_s(), inputs.find_results)
    except StepTimeoutError:
        yield fail(
            inputs.framework,
            "its checks did not finish in time",
            "Find out what they wait for, such as a database or a network drive.",
        )


def _versions(framework: str) -> StepResult:
    python = ".".join(map(str, sys.version_info[:3]))
    names = ["azure-eventhub", *_PACKAGES.get(framework, ())]
    versions = {name: _version_of(name) for name in names}
    shown = [f"{name} {number or '(missing)'}" for name, number in versions.items()]
    text = ", ".join([f"Python {python}", f"hublog {__version__}", *shown])
    missing = [name for name, number in versions.items() if not number]
    if missing:
        return fail("versions", text, f"Install the missing packages: pip install {' '.join(missing)}.")
    return ok("versions", text)


def _version_of(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _settings(reading: Reading) -> Iterator[StepResult]:
    if not reading.problems:
        yield ok("settings", f"all are valid{_unnamed(reading.settings)}")
    for problem in reading.problems:
        yield fail("settings", problem, "Correct it; until then its default applies.")
    for override in reading.overrides:
        yield warn("settings", override.text, "Set it in one place, or to the same value in both.")
    for text in reading.quoted_text:
        yield warn("settings", text, "docker run --env-file keeps quotation marks, a shell removes them.")


def _unnamed(settings: Settings) -> str:
    """Return a note for a service without a name, which every query groups by."""
    if is_named(settings.service):
        return ""
    return f"; LOG_SERVICE_NAME is not set, so service_name is {default_name()!r}"


def _misspelt_names(inputs: DoctorInput) -> Iterator[StepResult]:
    for place, names in (("the configuration", inputs.names), ("the environment", os.environ)):
        for name, meant in misspelt(names):
            yield warn("settings", f"{name} in {place} has no effect", f"Did you mean {meant}?")


def _destinations(inputs: DoctorInput) -> Iterator[StepResult]:
    settings, attached = inputs.reading.settings, inputs.find_attached()
    text = destinations_text(settings, attached)
    if not has_destination(settings, attached):
        yield warn("destinations", text, "Every record is lost: enable console, file or Event Hub.")
        return
    yield ok("destinations", text)
    if attached is None:
        return
    for sentence in findings():
        text, _, hint = sentence.partition(": ")
        yield warn("destinations", text, f"{hint[:1].upper()}{hint[1:]}")
    for sentence in contradictions(inputs.reading):
        yield warn("destinations", sentence, "Change the setting or the handler, so that they agree.")
    hub = settings.eventhub
    has_hub = hub.enabled and hub.is_configured and any(each.kind == EVENT_HUB for each in attached)
    if has_hub and settings.request.access_records and not reaches_event_hub(REQUESTS):
        yield warn("destinations", NO_REQUESTS, REACH_REQUESTS)


def _connection_steps(inputs: DoctorInput, settings: Settings) -> Iterator[StepResult]:
    if not settings.eventhub.enabled:
        return
    if not settings.eventhub.is_configured:
        yield fail("connection", "no connection to an Event Hub is configured", _NOT_CONFIGURED)
        return
    target = target_of(settings.eventhub)
    result = _connection(target)
    yield result
    if result.status is StepStatus.FAIL and not target.route.expires_at:  # the clock may be wrong
        return
    is_reached = True
    for step in check_network(target.route, inputs.budget, roots=_roots(inputs)):
        is_reached = is_reached and step.status is not StepStatus.FAIL
        yield step
    if is_reached:
        yield from check_event_hub(
            settings,
            inputs.budget,
            framework=inputs.framework,
            sends_record=inputs.sends_record,
            client_options=inputs.client_options,
        )


def _connection(target: Target) -> StepResult:
    text, route = target_text(target), target.route
    if route.proxy_problem:
        return fail("connection", f"{text}; {route.proxy_problem.removesuffix('.')}", _NO_PROXY)
    if route.is_websocket and not _version_of("websocket-client"):
        return fail("connection", text, "Install websocket-client: pip install 'hublog[websocket]'.")
    if route.has_identity:
        number = _version_of("azure-identity")
        if not number:
            return fail("connection", text, "Install azure-identity: pip install 'hublog[identity]'.")
        return ok("connection", f"{text}, by azure-identity {number}")
    if route.expires_at is not None and route.expires_at <= datetime.now(UTC):
        return fail("connection", text, "The signature has expired: create a new one, or use a key.")
    return ok("connection", text)


def _roots(inputs: DoctorInput) -> str:
    import certifi  # noqa: PLC0415  # the roots that the client trusts

    return str(inputs.client_options.get("connection_verify") or certifi.where())


def _disk_steps(inputs: DoctorInput, settings: Settings) -> Iterator[StepResult]:
    paths = inputs.find_log_files(settings)
    yield from check_disk(settings, paths, inputs.check_spool_content, inputs.budget)


def _process_steps(inputs: DoctorInput, settings: Settings) -> Iterator[StepResult]:
    if not settings.eventhub.enabled:
        return
    try:
        result = run_with_timeout(inputs.budget.step_s(), lambda: inputs.check_processes(settings.spool_dir))
    except StepTimeoutError:
        return  # the step of the spool says so
    if result is not None:
        yield result


def _server_steps(settings: Settings) -> Iterator[StepResult]:
    for line in advice(settings.eventhub):
        text, _, hint = line.rpartition(": ")
        yield warn(
            "server", text or line, f"{hint[:1].upper()}{hint[1:]}" if text else "See docs/promises.md."
        )


def _without(secrets: Sequence[str], result: StepResult) -> StepResult:
    """Return a result without any of the secrets."""
    detail, hint = result.detail, result.hint
    for secret in secrets:
        detail, hint = detail.replace(secret, _HIDDEN), hint.replace(secret, _HIDDEN)
    return replace(result, detail=detail, hint=hint)
