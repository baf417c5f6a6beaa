"""Follow the rows as they are stored, like ``tail -f``; any number of processes may."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TextIO, TypeAlias

from hublog.terminal import harmless_json
from hublog_local.adx_values import from_json
from hublog_local.errors import LocalHubError
from hublog_local.printing import make_console, painted
from hublog_local.store import active_file, end_of_last_line, table_files

Row: TypeAlias = dict[str, Any]  # JSON as it was stored
StoredRow: TypeAlias = tuple[bytes, Row]

_BLOCK: Final = 1 << 16
_CHUNK: Final = 1 << 20
_POLL_S: Final = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which rows to show.

    Attributes:
        level: lowest level number; rows without one are left out unless it is 0.
        logger: name of a logger; those below it are shown too.
        trace: a trace id.
    """

    level: int = 0
    logger: str = ""
    trace: str = ""

    def accepts(self, line: bytes) -> Row | None:
        """Return the row of a line if it is to be shown."""
        if self.trace and self.trace.encode() not in line:
            return None
        try:
            row = from_json(line)
        except ValueError:
            return None
        if not isinstance(row, dict):
            return None
        level, logger = row.get("level_number"), str(row.get("logger_name") or "")
        if self.level and not (isinstance(level, int) and level >= self.level):
            return None
        if self.logger and logger != self.logger and not logger.startswith(f"{self.logger}."):
            return None
        return row if not self.trace or row.get("trace_id") == self.trace else None


class Follower:
    """Reads the rows of a directory, the last ones first and then new ones.

    Args:
        directory: where a hub stores; it may appear later.
        wanted: which rows.

    Attributes:
        made_progress: whether the last ``step`` read something, so that more may be there already.
    """

    def __init__(self, directory: Path, wanted: Filter | None = None) -> None:
        self._directory = directory
        self._wanted = wanted or Filter()
        self._file = -1
        self._position = 0
        self.made_progress = False

    def last(self, number: int) -> list[StoredRow]:
        """Return the last rows that are wanted, oldest first; ``step`` then continues after them.

        A directory or file that does not exist yet has no rows.
        """
        self.close()
        # The newest file first: if it is renamed now, it is still the one that is open.
        if self._open(active_file(self._directory)):
            self._position = end_of_last_line(self._file)
        older = [path for path in table_files(self._directory) if not self._is_open(path)]
        rows: list[StoredRow] = []
        for line in self._backwards(older) if number > 0 else ():
            row = self._wanted.accepts(line)
            if row is not None:
                rows.append((line, row))
                if len(rows) == number:
                    break
        return rows[::-1]

    def step(self) -> list[StoredRow]:
        """Return wanted rows that came since the last call, oldest first; some of them if there are many."""
        self.made_progress = False
        if self._file < 0:
            files = table_files(self._directory)
            if not files or not self._open(files[0]):
                return []
        # Asked before reading: a file that is given up is then read to its end.
        is_given_up = not self._is_open(active_file(self._directory))
        data = b""
        while b"\n" not in data:
            more = os.pread(self._file, _CHUNK, self._position + len(data))
            if not more:
                break
            data += more
        whole = data[: data.rfind(b"\n") + 1]
        self._position += len(whole)
        self.made_progress = bool(whole) or (is_given_up and self._open_next())
        rows = ((line, self._wanted.accepts(line)) for line in whole.split(b"\n"))
        return [(line, row) for line, row in rows if row is not None]

    def close(self) -> None:
        """Close the file; may be called again."""
        if self._file >= 0:
            os.close(self._file)
        self._file, self._position = -1, 0

    def _open(self, path: Path) -> bool:
        try:
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        self.close()
        self._file = file
        return True

    def _is_open(self, path: Path) -> bool:
        try:
            return self._file >= 0 and os.path.samestat(path.stat(), os.fstat(self._file))
        except FileNotFoundError:
            return False

    def _open_next(self) -> bool:
        files = table_files(self._directory)
        here = next((number for number, path in enumerate(files) if self._is_open(path)), -1)
        # Not listed: it has been deleted, and all files are newer.
        return here + 1 < len(files) and self._open(files[here + 1])

    def _backwards(self, older: list[Path]) -> Iterator[bytes]:
        if self._file >= 0:
            yield from lines_backwards(self._file, self._position)
        for path in reversed(older):
            try:
                file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:  # the oldest has just been deleted
                return
            try:
                yield from lines_backwards(file, os.fstat(file).st_size)
            finally:
                os.close(file)


def lines_backwards(file: int, end: int) -> Iterator[bytes]:
    """Yield the lines before a position, the last one first, without their line breaks."""
    rest = b""
    while end > 0:
        start = max(end - _BLOCK, 0)
        block = os.pread(file, end - start, start) + rest
        rest, *lines = block.split(b"\n")
        yield from (line for line in reversed(lines) if line)
        end = start
    if rest:
        yield rest


def run_tail(
    directory: Path,
    wanted: Filter,
    *,
    number: int = 20,
    follows: bool = True,
    as_json: bool = False,
    out: TextIO,
    report: Callable[[str], None],
    wait: Callable[[float], object] = time.sleep,
) -> None:
    """Print rows until the caller is interrupted; without ``follows`` the stored ones only.

    Args:
        directory: where a hub stores.
        wanted: which rows.
        number: of stored rows to begin with.
        follows: whether to wait for new rows.
        as_json: print the rows as they are stored.
        out: where rows go; colours only if it is a terminal.
        report: called with each message for the operator.
        wait: waits for this number of seconds.

    Raises:
        LocalHubError: the directory does not exist, and ``follows`` is not set.
    """
    show = _printer(out, as_json=as_json)
    if not directory.is_dir():
        advice = f"There is no directory {str(directory)!r} yet; start hublog local, or name it with --data"
        if not follows:
            raise LocalHubError(f"{advice}.")
        report(f"{advice}. Waiting.")
    follower = Follower(directory, wanted)
    try:
        show(follower.last(number))
        while follows:
            show(follower.step())
            if not follower.made_progress:
                wait(_POLL_S)
    finally:
        follower.close()


def _printer(out: TextIO, *, as_json: bool) -> Callable[[Sequence[StoredRow]], None]:
    console = None if as_json else make_console(out)

    def show(rows: Sequence[StoredRow]) -> None:
        for line, row in rows:
            if console is None:
                out.write(f"{harmless_json(line).decode()}\n")
            else:
                console.print(painted(row), soft_wrap=True)
        if rows:
            out.flush()

    return show
