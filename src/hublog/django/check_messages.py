"""The one table of our system checks: each mis-setup has an id, used once and never again for another."""

from dataclasses import dataclass
from typing import Final

from django.core.checks import CheckMessage, Error, Info, Warning  # noqa: A004  # Django's name

_Kind = type[Error] | type[Warning] | type[Info]
_LEVELS: Final[dict[str, _Kind]] = {"E": Error, "W": Warning, "I": Info}


@dataclass(frozen=True, slots=True)
class Row:
    """One mis-setup.

    Attributes:
        number: letter of the level, and a number.
        wrong: what is wrong, and what comes of it.
        remedy: what to do.
    """

    number: str
    wrong: str
    remedy: str

    @property
    def id(self) -> str:
        """The id, as ``SILENCED_SYSTEM_CHECKS`` takes it."""
        return f"hublog.{self.number}"

    @property
    def kind(self) -> _Kind:
        """The class of its messages."""
        return _LEVELS[self.number[0]]


TABLE: Final = (
    Row("E001", "A setting is invalid; its default is in force.", "Change it as the message says."),
    Row(
        "E002",
        "`LOG_REDACTION_MODE` is `hash` and there is no `LOG_REDACTION_HASH_KEY`.",
        "Set the key, in the environment, or set the mode `mask`.",
    ),
    Row(
        "E003",
        "The namespace is given without a key, and `azure-identity` is not installed: nothing is sent.",
        "`pip install 'hublog[identity]'`.",
    ),
    Row(
        "W001",
        "The middleware is missing, so no record has the fields of its request.",
        "Put `hublog.django.middleware.RequestContextMiddleware` first in `MIDDLEWARE`.",
    ),
    Row(
        "W002",
        "Another middleware stands before ours: what it logs has no request fields.",
        "Move `hublog.django.middleware.RequestContextMiddleware` to the first place.",
    ),
    Row(
        "W003",
        "The Event Hub is switched on, but no logger has an `EventHubHandler`.",
        "Set `LOGGING = hublog.django.logging_config(globals())`, or add a `hublog.EventHubHandler` to it.",
    ),
    Row(
        "W004",
        "Handlers of one kind meet the same record twice: at a logger and at an ancestor, or in one list."
        " It is written or sent twice.",
        'Take one of them away, or set `"propagate": False`.',
    ),
    Row(
        "W005",
        "`LOGGING` silences loggers that exist already: `disable_existing_loggers` is on by default.",
        'Set `"disable_existing_loggers": False`.',
    ),
    Row(
        "W006",
        "A plain rotating file handler, and several workers: they rotate the file under each other, and"
        " lose lines.",
        "Use the file of `hublog.django.logging_config`, or `hublog.configure.file_log.FileLogHandler`.",
    ),
    Row(
        "W007",
        "A secret is written in the settings: it goes wherever the source goes.",
        "Read it from the environment, and replace the key: it may be known.",
    ),
    Row(
        "W008",
        "A name in the settings or the environment is almost that of one of our settings; it has no effect.",
        "Write it as the message says; silence this check if it is meant for something else.",
    ),
    Row(
        "W009",
        "The server of this process does what costs records at the exit.",
        "Change what the message names.",
    ),
    Row(
        "W010",
        "The spool directory cannot be used: while the hub is away, records wait in memory only.",
        "Make it a directory on a local disk that belongs to the user of the process, or set"
        " `EVENTHUB_LOG_SPOOL_DIR`.",
    ),
    Row(
        "W011",
        "A log file cannot be written.",
        "Make its directory writable by the user of the process, or change `LOG_DIR`.",
    ),
    Row(
        "W012",
        "No connection to an Event Hub is configured, and `DEBUG` is off: records reach no Event Hub.",
        "Set `EVENTHUB_NAMESPACE_CONNECTION_STRING` or `EVENTHUB_FULLY_QUALIFIED_NAMESPACE`, or"
        " `EVENTHUB_LOGGING_ENABLED=false` to say that it is meant so.",
    ),
    Row(
        "W013",
        "Redaction is switched off, and `DEBUG` is off: passwords and tokens stand in the logs.",
        "Set `LOG_REDACTION=true`.",
    ),
    Row(
        "W014",
        "The root logger has an `EventHubHandler` and no level, so nothing below WARNING reaches it.",
        'Give the root a `"level"`.',
    ),
    Row(
        "W015",
        "A check could not be made, since something in the settings is not as expected.",
        "See what the message names; all other checks were made.",
    ),
    Row(
        "W016",
        "An option in the configuration of uWSGI costs records.",
        "Change what the message names in `uwsgi.ini` or in the environment.",
    ),
    Row(
        "W017",
        "A setting names a destination or a level, and the handlers that are attached do not follow it.",
        "Change the setting or `LOGGING`, so that both say the same.",
    ),
    Row(
        "W018",
        "Request records, those of the logger `hublog.request`, reach no `EventHubHandler`.",
        "Put the handler on the root logger, or on the logger `hublog.request` too.",
    ),
    Row(
        "W019",
        "Handlers of hublog get no records: a later logging configuration removed them, or they stand behind"
        " a `QueueListener` that is not started.",
        "Configure logging in one place, or add `hublog.EventHubHandler` to the later one; start the"
        " listener.",
    ),
    Row(
        "W020",
        "Django's debug page and its mails to ADMINS would show the key of the connection.",
        "Read the setting from the environment under a name of ours, or name it `..._CONNECTION_STRING` or"
        " `..._KEY`; a filter of your own has to hide these names.",
    ),
    Row(
        "I001",
        "A plain rotating file handler: with more than one worker lines are lost.",
        "Use the file of `hublog.django.logging_config`, or silence this check where one process serves.",
    ),
    Row(
        "I002",
        "A setting and the environment say different things, and one of them has no effect.",
        "Set it in one place, or to the same value in both.",
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
    shown = (text or row.wrong).replace("`", "")
    return row.kind(shown, hint=(hint or row.remedy).replace("`", ""), id=row.id)


def checks_table() -> str:
    """Return the documentation of all checks as a Markdown table."""
    rows = ["| id | level | what is wrong | what to do |", "| --- | --- | --- | --- |"]
    rows += [f"| `{row.id}` | {row.kind.__name__} | {row.wrong} | {row.remedy} |" for row in TABLE]
    return "\n".join(rows) + "\n"
