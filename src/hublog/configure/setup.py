"""The functions that an application calls once, at start, and the types of their configuration."""

import logging
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from enum import StrEnum
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Final, TypeAlias, TypedDict, cast

from hublog.configure import reload
from hublog.configure.handlers import configure, level_text
from hublog.errors import SettingsError
from hublog.internal_log import report
from hublog.settings import EventHubSettings, Reading, read_settings


class FileLoggingConfig(TypedDict, total=False):
    """The section ``file_logging``; see the table of settings for what each key means."""

    enabled: bool
    level: int | str
    max_bytes: int | str
    backup_count: int


class EventHubLoggingConfig(TypedDict, total=False):
    """The section ``eventhub_logging``, also ``eventhub_config`` and the keywords of ``EventHubHandler``."""

    enabled: bool
    level: int | str
    connection_string: str
    connection_string_file: str
    fully_qualified_namespace: str
    eventhub_name: str
    transport: str
    proxy: str
    endpoint: str
    ca_file: str
    batch_size: int
    batch_timeout_seconds: float
    urgent_level: int | str
    max_queue_size: int
    max_queue_bytes: int | str
    circuit_breaker_threshold: int
    circuit_breaker_cooldown_seconds: float
    packing: str
    gzip_level: int
    route_database: str
    route_table: str
    route_format: str
    route_mapping: str
    max_record_bytes: int | str
    spool: str
    spool_dir: str
    spool_max_bytes: int | str
    spool_sync: str
    send_timeout_seconds: float
    exit_timeout_seconds: float
    heartbeat_seconds: float
    flush_on_sigterm: bool
    tail_sampling: bool
    tail_max_records: int
    dedup_seconds: float
    rate_limit: int
    rate_burst: int


class ServiceConfig(TypedDict, total=False):
    """The section ``service``."""

    name: str
    namespace: str
    version: str
    instance_id: str
    environment: str


class RequestConfig(TypedDict, total=False):
    """The section ``request``."""

    id_header: str
    trust_request_id: bool
    trusted_proxy_count: int
    access_records: bool
    excluded_paths: str | list[str]
    slow_seconds: float
    query: bool
    session: bool
    easy_auth: bool
    count_db_queries: bool
    context_in_threads: bool


class RedactionConfig(TypedDict, total=False):
    """The section ``redaction``."""

    enabled: bool
    mode: str
    hash_key: str
    keys: str | list[str]
    patterns: str | list[str]
    personal_data: str | bool


class LoggingConfig(TypedDict, total=False):
    """The whole section ``logging``."""

    level: int | str
    log_to_stdout: bool
    log_dir: str
    uncaught_exceptions: bool
    reload_on_sighup: bool
    status_token: str
    file_logging: FileLoggingConfig
    eventhub_logging: EventHubLoggingConfig
    service: ServiceConfig
    request: RequestConfig
    redaction: RedactionConfig


#: A YAML file, or its content.
Config: TypeAlias = str | PathLike[str] | LoggingConfig | Mapping[str, object]

_WORKER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_NO_WORKERS: Final = frozenset({"root", "hublog", "azure", "msal"})
_LEVELS: Final = frozenset({"level", "urgent_level"})
_SECRETS: Final = frozenset({"connection_string", "proxy"})
#: Where the keyword of a function has another name than the key of the YAML section.
_KEYWORDS: Final = {
    "argument level ": "argument log_level ",
    "argument eventhub_logging": "argument eventhub_config",
}


def setup_logging(
    config: Config | None = None,
    *,
    log_level: int | str | None = None,
    log_dir: str | PathLike[str] | None = None,
    log_to_stdout: bool | None = None,
    eventhub_config: EventHubLoggingConfig | Mapping[str, object] | None = None,
    enable_file_logging: bool = True,
    enable_eventhub_logging: bool = True,
) -> logging.Logger:
    """Set up console, log file and Event Hub on the root logger.

    Arguments win over the environment, which wins over ``config``. What is invalid outside the code
    takes its default and is reported in one error line; without a connection string there is one warning.

    Args:
        config: path of a YAML file (extra ``yaml``), or its content.
        log_level: level of the console.
        log_dir: directory of the log file.
        log_to_stdout: whether to write to the console.
        eventhub_config: keys of the section ``eventhub_logging``.
        enable_file_logging: False switches the file off; True leaves it to ``FILE_LOGGING_ENABLED``.
        enable_eventhub_logging: False switches the Event Hub off; True leaves it to
            ``EVENTHUB_LOGGING_ENABLED``.

    Returns:
        The root logger.

    Raises:
        ImportError: a YAML file is given and the extra ``yaml`` is missing.
        SettingsError: an argument is invalid; configuration outside the code never raises.
        TypeError: an argument is of a wrong type.
    """
    read = partial(
        _read,
        config,
        log_level=log_level,
        log_dir=log_dir,
        log_to_stdout=log_to_stdout,
        eventhub_config=eventhub_config,
        enable_file_logging=enable_file_logging,
        enable_eventhub_logging=enable_eventhub_logging,
    )
    return _set_up(read)


def setup_multi_worker_logging(
    workers: Iterable[str],
    config: Config | None = None,
    *,
    log_level: int | str | None = None,
    log_dir: str | PathLike[str] | None = None,
    log_to_stdout: bool | None = None,
    eventhub_config: EventHubLoggingConfig | Mapping[str, object] | None = None,
    enable_file_logging: bool = True,
    enable_eventhub_logging: bool = True,
) -> dict[str, logging.Logger]:
    """Set logging up for named workers: a file for each, one console and one Event Hub for all.

    Each worker's logger has the worker's name and writes to ``application-<name>.log``; its records also
    reach console and Event Hub, which are on the root logger. Records of all other loggers
    go to ``application.log``. A worker's name has at most 64 letters, digits, ``_`` and ``-``, since it
    becomes part of the name of a file. The other arguments are those of ``setup_logging``.

    Returns:
        The workers' loggers by name, in the order of ``workers``.

    Raises:
        ImportError: a YAML file is given and the extra ``yaml`` is missing.
        SettingsError: a name or another argument is invalid.
        TypeError: an argument is of a wrong type.
    """
    names = _check_workers(workers)
    read = partial(
        _read,
        config,
        log_level=log_level,
        log_dir=log_dir,
        log_to_stdout=log_to_stdout,
        eventhub_config=eventhub_config,
        enable_file_logging=enable_file_logging,
        enable_eventhub_logging=enable_eventhub_logging,
    )
    _set_up(read, names)
    return {name: logging.getLogger(name) for name in names}


def prepare_eventhub_logging_config(config: Config | None = None) -> EventHubLoggingConfig:
    """Return the Event Hub settings of environment and ``config`` as plain data, to inspect or to change.

    The result can be passed as ``eventhub_config``. Two things are left out: the connection string and the
    proxy, secrets, which ``setup_logging`` finds where this function found them; and what is invalid: in the
    environment, so that ``setup_logging`` still reports it, and in ``config``, which this function reports
    in one error line on ``hublog.internal``.

    Args:
        config: path of a YAML file (extra ``yaml``), or its content.

    Raises:
        ImportError: a YAML file is given and the extra ``yaml`` is missing.
        TypeError: ``config`` is of a wrong type.
    """
    reading = read_settings(document=config)
    elsewhere = read_settings().problems
    problems = [problem for problem in reading.problems if problem not in elsewhere]
    if problems:
        report(logging.ERROR, f"Invalid settings, their defaults are used: {' '.join(problems)}")
    plain: dict[str, object] = {}
    for field in fields(EventHubSettings):
        value = getattr(reading.settings.eventhub, field.name)
        if field.name in _SECRETS or f"eventhub_logging.{field.name}" in reading.invalid:
            continue
        if field.name in _LEVELS:
            value = level_text(value)
        if value not in (None, ""):
            plain[field.name] = str(value) if isinstance(value, Path | StrEnum) else value
    return cast("EventHubLoggingConfig", plain)


def _set_up(read: Callable[[], Reading], workers: tuple[str, ...] = ()) -> logging.Logger:
    """Configure logging with what is read, now and at each SIGHUP that is taken."""

    def apply(reading: Reading) -> logging.Logger:
        return configure(
            reading.settings, problems=reading.problems, notices=reading.notices, workers=workers
        )

    reading = read()
    root = apply(reading)
    reload.follow(reading.settings, read, apply)
    return root


def _read(
    config: Config | None,
    *,
    log_level: int | str | None,
    log_dir: str | PathLike[str] | None,
    log_to_stdout: bool | None,
    eventhub_config: Mapping[str, object] | None,
    enable_file_logging: bool,
    enable_eventhub_logging: bool,
) -> Reading:
    for name, value in (
        ("enable_file_logging", enable_file_logging),
        ("enable_eventhub_logging", enable_eventhub_logging),
    ):
        if not isinstance(value, bool):
            raise TypeError(f"{name} is {value!r}; it must be True or False.")
    if eventhub_config is not None and not isinstance(eventhub_config, Mapping):
        raise TypeError(f"eventhub_config is a {type(eventhub_config).__name__}; it must be a mapping.")
    eventhub = dict(eventhub_config or {})
    if not enable_eventhub_logging:
        eventhub["enabled"] = False
    reading = read_settings(
        {
            "level": log_level,
            "log_dir": log_dir,
            "log_to_stdout": log_to_stdout,
            "file_logging": None if enable_file_logging else {"enabled": False},
            "eventhub_logging": eventhub,
        },
        document=config,
    )
    if reading.wrong_arguments:
        raise SettingsError([_in_keywords(sentence) for sentence in reading.wrong_arguments])
    return reading


def _in_keywords(sentence: str) -> str:
    for key, keyword in _KEYWORDS.items():
        sentence = sentence.replace(key, keyword, 1)
    return sentence


def _check_workers(workers: Iterable[object]) -> tuple[str, ...]:
    if isinstance(workers, str):
        raise TypeError(f"workers is the string {workers!r}; it must be a list of names.")
    given = tuple(workers)
    problems = [
        f"The worker name {name!r} is not allowed; use at most 64 letters, digits, '_' and '-', a letter or"
        " digit first, and none of root, hublog, azure and msal."
        for name in given
        if not (isinstance(name, str) and _WORKER.fullmatch(name) and name.lower() not in _NO_WORKERS)
    ]
    if not given:
        problems.append("workers is empty; name at least one.")
    names = tuple(str(name) for name in given)
    if not problems and len({name.lower() for name in names}) != len(names):
        problems.append(f"workers is {', '.join(names)}; each name must differ, also in lower case.")
    if problems:
        raise SettingsError(problems)
    return names
