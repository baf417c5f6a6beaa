"""The messages of Django's system checks: one id for each misconfiguration, never reused for another."""

from dataclasses import dataclass
from typing import Final

from django.core.checks import CheckMessage, Error, Info, Warning  # noqa: A004  # Django's name

_Kind = type[Error] | type[Warning] | type[Info]
_LEVELS: Final[dict[str, _Kind]] = {"E": Error, "W": Warning, "I": Info}


@dataclass(frozen=True, slots=True)
class CheckMessageText:
    """One misconfiguration.

    Attributes:
        number: letter of the level, and a number.
        problem: what is wrong, and its consequence.
        hint: what to do.
    """

    number: str
    problem: str
    hint: str

    @property
    def id(self) -> str:
        """The id, as ``SILENCED_SYSTEM_CHECKS`` takes it."""
        return f"hublog.{self.number}"

    @property
    def kind(self) -> _Kind:
        """The class of its messages."""
        return _LEVELS[self.number[0]]


TABLE: Final = (
    CheckMessageText("E001", "A setting is invalid; its default is used.", "Change it as the message says."),
    CheckMessageText(
        "E002",
        "`LOG_REDACTION_MODE` is `hash` and there is no `LOG_REDACTION_HASH_KEY`.",
        "Set the key, in the environment, or set the mode `mask`.",
    ),
    CheckMessageText(
        "E003",
        "The namespace is given without a key, and `azure-identity` is not installed: nothing is sent.",
        "`pip install 'hublog[identity]'`.",
    ),
    CheckMessageText(
        "E004",
        "The connection uses WebSockets, and `websocket-client` is not installed: nothing is sent.",
        "`pip install 'hublog[websocket]'`, or set `EVENTHUB_LOG_TRANSPORT=amqp` where no proxy is needed.",
    ),
    CheckMessageText(
        "W001",
        "The middleware is missing, so no record has the fields of its request.",
        "Put `hublog.django.middleware.RequestContextMiddleware` first in `MIDDLEWARE`.",
    ),
    CheckMessageText(
        "W002",
        "Another middleware comes before ours: what it logs has no request fields.",
        "Move `hublog.django.middleware.RequestContextMiddleware` to the first place.",
    ),
    CheckMessageText(
        "W003",
        "The Event Hub is switched on, but no logger has an `EventHubHandler`.",
        "Set `LOGGING = hublog.django.logging_config(globals())`, or add a `hublog.EventHubHandler` to it.",
    ),
    CheckMessageText(
        "W004",
        "The same record reaches two equal handlers: on a logger and on an ancestor, or in one list."
        " It is written or sent twice.",
        'Remove one of them, or set `"propagate": False`.',
    ),
    CheckMessageText(
        "W005",
        "`LOGGING` disables existing loggers: `disable_existing_loggers` is on by default.",
        'Set `"disable_existing_loggers": False`.',
    ),
    CheckMessageText(
        "W006",
        "A plain rotating file handler with several workers: each rotates the file of the others, and lines"
        " are lost.",
        "Use the file of `hublog.django.logging_config`, or `hublog.configure.file_log.FileLogHandler`.",
    ),
    CheckMessageText(
        "W007",
        "A secret is written in the settings: it is copied wherever the source code is.",
        "Read it from the environment, and rotate the key, since it may be known.",
    ),
    CheckMessageText(
        "W008",
        "A name in the settings or the environment is almost that of a setting of hublog; it has no effect.",
        "Correct it as the message says; silence this check if it is meant for something else.",
    ),
    CheckMessageText(
        "W009", "The way the server of this process exits loses records.", "Change what the message names."
    ),
    CheckMessageText(
        "W010",
        "The spool directory cannot be used: during an outage records wait in memory only.",
        "Make it a directory on a local disk, owned by the user of the process, or set"
        " `EVENTHUB_LOG_SPOOL_DIR`.",
    ),
    CheckMessageText(
        "W011",
        "A log file cannot be written.",
        "Make its directory writable by the user of the process, or change `LOG_DIR`.",
    ),
    CheckMessageText(
        "W012",
        "No connection to an Event Hub is configured, and `DEBUG` is off: records reach no Event Hub.",
        "Set `EVENTHUB_NAMESPACE_CONNECTION_STRING` or `EVENTHUB_FULLY_QUALIFIED_NAMESPACE`, or"
        " `EVENTHUB_LOGGING_ENABLED=false` to disable it explicitly.",
    ),
    CheckMessageText(
        "W013",
        "Redaction is switched off, and `DEBUG` is off: passwords and tokens appear in the logs.",
        "Set `LOG_REDACTION=true`.",
    ),
    CheckMessageText(
        "W014",
        "The root logger has an `EventHubHandler` and no level, so nothing below WARNING reaches it.",
        'Give the root a `"level"`.',
    ),
    CheckMessageText(
        "W015",
        "A check failed with an exception, since something in the settings is not as expected.",
        "See what the message names; all other checks ran.",
    ),
    CheckMessageText(
        "W016",
        "An option of uWSGI loses records.",
        "Change what the message names in `uwsgi.ini` or in the environment.",
    ),
    CheckMessageText(
        "W017",
        "A setting names a destination or a level that the attached handlers do not follow.",
        "Change the setting or `LOGGING` so that they agree.",
    ),
    CheckMessageText(
        "W018",
        "Request records, those of the logger `hublog.request`, reach no `EventHubHandler`.",
        "Put the handler on the root logger, or on the logger `hublog.request` too.",
    ),
    CheckMessageText(
        "W019",
        "Handlers of hublog get no records: a later logging configuration removed them, or they are behind"
        " a `QueueListener` that is not started.",
        "Configure logging in one place, or add `hublog.EventHubHandler` to the later one; start the"
        " listener.",
    ),
    CheckMessageText(
        "W020",
        "Django's debug page and its mails to ADMINS would show the key of the connection.",
        "Read the setting from the environment under hublog's name, or name it `..._CONNECTION_STRING` or"
        " `..._KEY`; a custom filter has to hide these names.",
    ),
    CheckMessageText(
        "I001",
        "A plain rotating file handler: with more than one worker, lines are lost.",
        "Use the file of `hublog.django.logging_config`, or silence this check if there is only one process.",
    ),
    CheckMessageText(
        "I002",
        "A setting and the environment differ, and one of them has no effect.",
        "Set it in one place, or to the same value in both places.",
    ),
)
_ROWS: Final = {row.number: row for row in TABLE}


def message(number: str, text: str = "", hint: str = "") -> CheckMessage:
    """Return the message of a check.

    Args:
        number: like ``W001``.
        text: what was seen; default is what the table says.
        hint: what to do; default is what the table says.
    """
    row = _ROWS[number]
    shown = (text or row.problem).replace("`", "")
    return row.kind(shown, hint=(hint or row.hint).replace("`", ""), id=row.id)


def checks_table() -> str:
    """Return the documentation of all checks as a Markdown table."""
    rows = ["| id | level | what is wrong | what to do |", "| --- | --- | --- | --- |"]
    rows += [f"| `{row.id}` | {row.kind.__name__} | {row.problem} | {row.hint} |" for row in TABLE]
    return "\n".join(rows) + "\n"
