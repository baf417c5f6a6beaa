"""What a step found."""

from dataclasses import dataclass
from enum import StrEnum

from hublog.redaction.redactor import DEFAULT


class Status(StrEnum):
    """How it went; only ``fail`` makes the exit status 1."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One line of the doctor.

    Attributes:
        status: how it went.
        what: the step, one word or two.
        detail: what was seen, without secrets: texts of other packages are in it.
        hint: what to do; empty when all is well.
        seconds: how long it took, where that says something.
    """

    status: Status
    what: str
    detail: str
    hint: str = ""
    seconds: float | None = None

    def __post_init__(self) -> None:
        """Take out what the error of a credential or a client may quote."""
        object.__setattr__(self, "detail", DEFAULT.text(self.detail))
        object.__setattr__(self, "hint", DEFAULT.text(self.hint))


def ok(what: str, detail: str, *, seconds: float | None = None) -> Result:
    """Return a step that went well."""
    return Result(status=Status.OK, what=what, detail=detail, seconds=seconds)


def warn(what: str, detail: str, hint: str) -> Result:
    """Return a step that somebody should look at."""
    return Result(status=Status.WARN, what=what, detail=detail, hint=hint)


def fail(what: str, detail: str, hint: str, *, seconds: float | None = None) -> Result:
    """Return a step that went wrong."""
    return Result(status=Status.FAIL, what=what, detail=detail, hint=hint, seconds=seconds)
