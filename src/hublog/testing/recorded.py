"""What reached the hub of a test: rows that assertions are made about, and the secrets in them."""

import heapq
import json
import re
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, Protocol, overload
from urllib.parse import quote, quote_plus

from hublog.redaction.redactor import find_secrets
from hublog.testing.rows import Row, conditions, leaves, missing, unwanted

_MASK: Final = "***"
#: Where ``find_secrets`` found it; we look at parts of a row, so the numbers would mislead.
_PLACE: Final = re.compile(r" at \d+-\d+$")


class Secret:
    """A value that must not arrive, in the forms in which it may.

    Args:
        value: text or bytes.

    Raises:
        TypeError: it is neither.
        ValueError: it is empty.
    """

    def __init__(self, value: str | bytes) -> None:
        if not isinstance(value, str | bytes):
            raise TypeError(f"A secret is a {type(value).__name__}; it must be text or bytes.")
        text = value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value
        if not text:
            raise ValueError("A secret is empty; everything would hold it.")
        forms = [text, quote(text, safe=""), quote(text), quote_plus(text), repr(text)[1:-1]]
        forms += [json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]]
        #: The longest first, so that masking one leaves no rest of another.
        self._forms = sorted(set(forms), key=len, reverse=True)

    def is_in(self, text: str) -> bool:
        """Whether a text holds it."""
        return any(form in text for form in self._forms)

    def masked(self, text: str) -> str:
        """Return a text without it."""
        for form in self._forms:
            text = text.replace(form, _MASK)
        return text

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


def secrets_of(values: Iterable[str | bytes]) -> list[Secret]:
    """Return the secrets of these values.

    Raises:
        TypeError: one is neither text nor bytes.
        ValueError: one is empty.
    """
    return [Secret(value) for value in values]


def leaks(rows: Sequence[Row], secrets: Sequence[Secret], *, with_shapes: bool) -> list[str]:
    """Return a line for each secret found, with its row and column.

    Args:
        rows: what reached the hub.
        secrets: what must not.
        with_shapes: look for everything else, too, that redaction takes for a secret.
    """
    found: list[str] = []
    for number, row in enumerate(rows, start=1):
        whats = list(_in_row(row, secrets))
        if with_shapes:
            whats += _shapes(row)
        for what in dict.fromkeys(whats):
            line = f"row {number}, {_name(row)}: {what}"
            for secret in secrets:
                line = secret.masked(line)
            found.append(line)
    return found


def report_of(found: Sequence[str]) -> str:
    """Return the text of a failed check."""
    title = "A secret reached the Event Hub" + (f" in {len(found)} places:" if len(found) > 1 else ":")
    return "\n".join([title, *(f"  {line}" for line in found)])


def _in_row(row: Row, secrets: Sequence[Secret]) -> Iterator[str]:
    for path, text in leaves(row):
        for number, secret in enumerate(secrets, start=1):
            if secret.is_in(text):
                which = "the given value" if len(secrets) == 1 else f"given value {number}"
                yield f"{path} holds {which}"


def _shapes(value: Mapping[str, object], path: str = "") -> Iterator[str]:
    for key, item in value.items():
        where = f"{path}.{key}" if path else key
        if isinstance(item, Mapping):
            yield from _shapes(item, where)
            continue
        # A column's name is ours and says nothing: session_id holds a hash.
        texts = [json.dumps({key: item}, ensure_ascii=False)] if path else []
        texts += [item] if isinstance(item, str) else []
        for kind in [kind for text in texts for kind in find_secrets(text)]:
            yield f"{where} holds what looks like a secret, {_PLACE.sub('', kind)}"


def _name(row: Mapping[str, object]) -> str:
    return (
        f"{row.get('level')} of {row.get('logger_name')} at {row.get('source_file')}:{row.get('source_line')}"
    )


#: Seconds that reading waits at most until all has arrived that was logged before.
READ_LIMIT_S: Final = 5.0


class Source(Protocol):
    """Where rows come from."""

    def deliver(self, limit_s: float) -> bool:
        """Have all sent that was logged before; returns whether all of it has arrived in time."""

    def take(self) -> list[list[Row]]:
        """Return the rows that arrived since the last call, for each pipeline, in the order of arrival."""

    def fail_next(self, number: int, error: Exception | type[Exception] | None) -> None:
        """Have so many sends fail."""

    @property
    def waiting(self) -> int:
        """Records that have not arrived."""


class RecordedLogs(Sequence[Row]):
    """Rows as Azure Data Explorer would get them, oldest first; reading waits for what was logged before.

    Reading is whatever looks at rows: ``len``, iteration, an index, a property, an assertion. Any thread may.

    Args:
        source: where they come from.

    Raises:
        TimeoutError: from reading, when records have not arrived after ``READ_LIMIT_S``.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._arrived: list[list[Row]] = []
        self._past: list[Row] = []
        self._rows: list[Row] = []
        self._forbidden: list[Secret] = []
        self._is_over = False
        self._reading = threading.Lock()

    @property
    def rows(self) -> list[Row]:
        """The rows, a list of their own."""
        return list(self._read())

    @property
    def messages(self) -> list[str]:
        """The column ``message`` of each row."""
        return [str(row.get("message", "")) for row in self._read()]

    @property
    def waiting(self) -> int:
        """Records that were logged and have not arrived; nothing is sent to find out.

        After ``fail_next`` they wait until somebody reads.
        """
        return self._source.waiting

    def clear(self) -> None:
        """Forget the rows of now; what ``forbid`` and ``assert_no_secrets`` look at stays whole."""
        self._past += self._read()
        self._arrived, self._rows = [], []

    def where(
        self,
        *,
        level: int | str | None = None,
        message: str | re.Pattern[str] | None = None,
        **fields: object,
    ) -> list[Row]:
        """Return the rows of which all of this is true.

        Args:
            level: name or number.
            message: a text that the message contains, or a compiled pattern found in it.
            fields: values by column; names that are no column are keys of ``extra``. A pattern must be found
                in the value, None is a value that is not there, anything else must be equal.

        Raises:
            ValueError: there is no such level.
        """
        asked = conditions(level, message, fields)
        return [row for row in self._read() if all(one.holds(row) for one in asked)]

    def assert_logged(
        self,
        *,
        level: int | str | None = None,
        message: str | re.Pattern[str] | None = None,
        **fields: object,
    ) -> Row:
        """Return the first row of which all of this is true; the arguments are those of ``where``.

        Raises:
            AssertionError: there is none; its text shows the closest ones and what differs.
        """
        __tracebackhide__ = True
        found = self.where(level=level, message=message, **fields)
        if not found:
            raise AssertionError(missing(conditions(level, message, fields), self._read()))
        return found[0]

    def assert_not_logged(
        self,
        *,
        level: int | str | None = None,
        message: str | re.Pattern[str] | None = None,
        **fields: object,
    ) -> None:
        """Find no row of which all of this is true; the arguments are those of ``where``.

        Raises:
            AssertionError: there is one; its text shows it.
        """
        __tracebackhide__ = True
        found = self.where(level=level, message=message, **fields)
        if found:
            raise AssertionError(unwanted(conditions(level, message, fields), found))

    def assert_no_secrets(self, *values: str | bytes) -> None:
        """Find none of these values in anything that arrived, nor anything that redaction takes for a secret.

        Rows that were cleared count, too.
        A value counts as found in its percent-encoded form, and as ``repr`` and JSON write it, too.

        Args:
            values: secrets.

        Raises:
            AssertionError: there is one; its text names row and column, and never shows the secret.
        """
        __tracebackhide__ = True
        self._check(secrets_of(values), with_shapes=True)

    def forbid(self, *values: str | bytes) -> None:
        """Have the test fail at its end if one of these values has arrived by then.

        Args:
            values: secrets, as for ``assert_no_secrets``.
        """
        self._forbidden += secrets_of(values)

    def fail_next(self, number: int = 1, error: Exception | type[Exception] | None = None) -> None:
        """Let the next sends fail as if the hub were away; what they carry waits until somebody reads.

        Time stands still for retries until then, so a test neither waits nor depends on how fast it is.

        Args:
            number: how many sends.
            error: what they raise; None is a hub that does not answer.

        Raises:
            TypeError: it is no exception.
            ValueError: the number is less than 1.
        """
        self._read()  # what was logged before is none of it
        self._source.fail_next(number, error)

    def end(self) -> None:
        """Read for the last time, and look for what ``forbid`` named; for whoever made this.

        Raises:
            AssertionError: a forbidden secret has arrived.
        """
        __tracebackhide__ = True
        try:
            self._check(self._forbidden, with_shapes=False)
        finally:
            self._is_over = True

    def _check(self, secrets: Sequence[Secret], *, with_shapes: bool) -> None:
        __tracebackhide__ = True
        rows = self._read()
        found = leaks([*self._past, *rows], secrets, with_shapes=with_shapes)
        if found:
            raise AssertionError(report_of(found))

    def _read(self) -> list[Row]:
        if self._is_over:
            return self._rows
        if not self._source.deliver(READ_LIMIT_S):
            raise TimeoutError(
                f"{self.waiting} records have not arrived after {READ_LIMIT_S:.0f} s;"
                " does fail_next make more sends fail than can be tried in that time?"
            )
        with self._reading:
            taken = self._source.take()
            if any(taken):
                self._arrived += [[] for _ in range(len(taken) - len(self._arrived))]
                for known, new in zip(self._arrived, taken, strict=True):
                    known.extend(new)
                    known.sort(key=_sequence)
                self._rows = list(heapq.merge(*self._arrived, key=_timestamp))
            return self._rows

    def __len__(self) -> int:
        return len(self._read())

    @overload
    def __getitem__(self, index: int) -> Row: ...

    @overload
    def __getitem__(self, index: slice) -> list[Row]: ...

    def __getitem__(self, index: int | slice) -> Row | list[Row]:
        return self._read()[index]

    def __iter__(self) -> Iterator[Row]:
        return iter(list(self._read()))

    def __repr__(self) -> str:
        # No row: pytest shows this with a failed test, and a row may hold what the test finds fault with.
        return f"<{type(self).__name__}: {len(self._rows)} rows read>"


def _sequence(row: Row) -> int:
    found = row.get("sequence")
    return found if isinstance(found, int) else 0


def _timestamp(row: Row) -> str:
    return str(row.get("timestamp"))
