"""The rows that reached the hub of a test, assertions about them, and the search for secrets."""

import heapq
import json
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, overload
from urllib.parse import quote, quote_plus

from hublog.redaction.redactor import find_secrets
from hublog.testing.memory_hub import MemoryHub
from hublog.testing.rows import Row, conditions, leaves, missing, unwanted

_MASK: Final = "***"
#: The position that ``find_secrets`` reports; in a part of a row it would mislead.
_PLACE: Final = re.compile(r" at \d+-\d+$")


class Secret:
    """A value that must not arrive, with the forms in which it may.

    Args:
        value: a string or bytes.

    Raises:
        TypeError: it is neither.
        ValueError: it is empty.
    """

    def __init__(self, value: str | bytes) -> None:
        if not isinstance(value, str | bytes):
            raise TypeError(f"A secret is a {type(value).__name__}; it must be a string or bytes.")
        text = value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value
        if not text:
            raise ValueError("A secret is empty; every row would contain it.")
        forms = [text, quote(text, safe=""), quote(text), quote_plus(text), repr(text)[1:-1]]
        forms += [json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]]
        #: The longest first, so that masking one leaves no part of another.
        self._forms = sorted(set(forms), key=len, reverse=True)

    def is_in(self, text: str) -> bool:
        """Whether a string contains it."""
        return any(form in text for form in self._forms)

    def masked(self, text: str) -> str:
        """Return a string with the secret masked."""
        for form in self._forms:
            text = text.replace(form, _MASK)
        return text

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


def leaks(rows: Sequence[Row], secrets: Sequence[Secret], *, with_shapes: bool) -> list[str]:
    """Return a line for each secret in the rows, with its row and column.

    With shapes, whatever redaction recognizes as a secret counts as well.
    """
    lines: list[str] = []
    for number, row in enumerate(rows, start=1):
        leaks_of_row = list(_in_row(row, secrets))
        if with_shapes:
            leaks_of_row += _shapes(row)
        for leak in dict.fromkeys(leaks_of_row):
            line = f"row {number}, {_name(row)}: {leak}"
            for secret in secrets:
                line = secret.masked(line)
            lines.append(line)
    return lines


def report_of(lines: Sequence[str]) -> str:
    """Return the message of a failed check."""
    title = "A secret reached the Event Hub" + (f" in {len(lines)} places:" if len(lines) > 1 else ":")
    return "\n".join([title, *(f"  {line}" for line in lines)])


def _in_row(row: Row, secrets: Sequence[Secret]) -> Iterator[str]:
    for path, text in leaves(row):
        for number, secret in enumerate(secrets, start=1):
            if secret.is_in(text):
                which = "the given value" if len(secrets) == 1 else f"given value {number}"
                yield f"{path} contains {which}"


def _shapes(value: Mapping[str, object], path: str = "") -> Iterator[str]:
    for key, item in value.items():
        where = f"{path}.{key}" if path else key
        if isinstance(item, Mapping):
            yield from _shapes(item, where)
            continue
        # The name of a column is no evidence: session_id is a hash.
        strings = [json.dumps({key: item}, ensure_ascii=False)] if path else []
        strings += [item] if isinstance(item, str) else []
        for kind in [kind for string in strings for kind in find_secrets(string)]:
            yield f"{where} contains what looks like a secret, {_PLACE.sub('', kind)}"


def _name(row: Mapping[str, object]) -> str:
    return (
        f"{row.get('level')} of {row.get('logger_name')} at {row.get('source_file')}:{row.get('source_line')}"
    )


#: Seconds that reading waits at most for what was logged before.
READ_LIMIT_S: Final = 5.0


class RecordedLogs(Sequence[Row]):
    """Rows as Azure Data Explorer would get them, oldest first; reading waits for what was logged before.

    Every access to rows reads: ``len``, iteration, an index, a property, an assertion. Any thread may read.

    Raises:
        TimeoutError: from reading, if records have not arrived after ``READ_LIMIT_S``.
    """

    def __init__(self, hub: MemoryHub) -> None:
        self._hub = hub
        self._arrived: list[list[Row]] = []
        self._past: list[Row] = []
        self._rows: list[Row] = []
        self._forbidden: list[Secret] = []
        self._is_over = False
        self._reading = threading.Lock()

    @property
    def rows(self) -> list[Row]:
        """A new list of the rows."""
        return list(self._read())

    @property
    def messages(self) -> list[str]:
        """The column ``message`` of each row."""
        return [str(row.get("message", "")) for row in self._read()]

    @property
    def waiting(self) -> int:
        """Records that were logged and have not arrived; it sends nothing.

        After ``fail_next`` they wait until rows are read.
        """
        return self._hub.waiting

    def clear(self) -> None:
        """Forget the current rows; ``forbid`` and ``assert_no_secrets`` still check them."""
        self._past += self._read()
        self._arrived, self._rows = [], []

    def where(
        self,
        *,
        level: int | str | None = None,
        message: str | re.Pattern[str] | None = None,
        **fields: object,
    ) -> list[Row]:
        """Return the rows that match all arguments.

        Args:
            level: name or number.
            message: a string that the message contains, or a compiled pattern to search for in it.
            fields: values by column; other names are keys of ``extra``. A pattern is searched for in the
                value, None means that there is no value, anything else must be equal.

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
        """Return the first row that matches all arguments; these are those of ``where``.

        Raises:
            AssertionError: there is none; its message shows the closest rows and how they differ.
        """
        __tracebackhide__ = True
        rows = self.where(level=level, message=message, **fields)
        if not rows:
            raise AssertionError(missing(conditions(level, message, fields), self._read()))
        return rows[0]

    def assert_not_logged(
        self,
        *,
        level: int | str | None = None,
        message: str | re.Pattern[str] | None = None,
        **fields: object,
    ) -> None:
        """Assert that no row matches all arguments; these are those of ``where``.

        Raises:
            AssertionError: there is one; its message shows it.
        """
        __tracebackhide__ = True
        rows = self.where(level=level, message=message, **fields)
        if rows:
            raise AssertionError(unwanted(conditions(level, message, fields), rows))

    def assert_no_secrets(self, *values: str | bytes) -> None:
        """Assert that no row contains one of these values, or anything that redaction recognizes as a secret.

        Cleared rows count, too. A value is also found percent-encoded, and as ``repr`` and JSON write it.

        Args:
            values: secrets.

        Raises:
            AssertionError: there is one; its message names row and column, and never shows the secret.
        """
        __tracebackhide__ = True
        self._check([Secret(value) for value in values], with_shapes=True)

    def forbid(self, *values: str | bytes) -> None:
        """Let the test fail at its end if one of these secrets has arrived by then."""
        self._forbidden += [Secret(value) for value in values]

    def fail_next(self, number: int = 1, error: Exception | type[Exception] | None = None) -> None:
        """Let the next sends fail as in an outage; their records wait until rows are read.

        The clock of the retries stands still until then, so a test neither waits nor depends on its speed.

        Args:
            number: of sends.
            error: what they raise; None is an unavailable hub.

        Raises:
            TypeError: it is not an exception.
            ValueError: the number is less than 1.
        """
        self._read()  # what was logged before must not fail
        self._hub.outage.begin(number, error)

    def end(self) -> None:
        """Read for the last time, and check what ``forbid`` named; for the creator of this object.

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
        lines = leaks([*self._past, *rows], secrets, with_shapes=with_shapes)
        if lines:
            raise AssertionError(report_of(lines))

    def _read(self) -> list[Row]:
        if self._is_over:
            return self._rows
        if not self._hub.deliver(READ_LIMIT_S):
            raise TimeoutError(
                f"{self.waiting} records have not arrived after {READ_LIMIT_S:.0f} s;"
                " does fail_next make more sends fail than can be tried in that time?"
            )
        with self._reading:
            taken = self._hub.take()
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
        # Without rows: pytest shows this with a failed test, and a row may contain the secret.
        return f"<{type(self).__name__}: {len(self._rows)} rows read>"


def _sequence(row: Row) -> int:
    sequence = row.get("sequence")
    return sequence if isinstance(sequence, int) else 0


def _timestamp(row: Row) -> str:
    return str(row.get("timestamp"))
