"""How names, counts and tables are written on a terminal."""

from collections.abc import Sequence
from datetime import UTC, datetime

from hublog.spool.envelope import Destination


def shown(name: object) -> str:
    """Return a name as it may stand on one line: control characters are escaped."""
    text = str(name)
    return text if text.isprintable() else ascii(text)


def count_of(number: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun, like ``1 record`` or ``1,200 records``."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def time_text(moment: datetime | None) -> str:
    """Return a moment in UTC as ISO 8601 with seconds; a dash for none."""
    return "-" if moment is None else f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S}Z"


def destination_text(destination: Destination | None) -> str:
    """Return where records go as one cell; a dash where their directory does not say."""
    if destination is None:
        return "-"
    return shown(f"{destination.namespace or '*'}/{destination.eventhub or '*'}")


def destination_json(destination: Destination | None) -> dict[str, str | None] | None:
    """Return where records go as plain data."""
    if destination is None:
        return None
    return {"namespace": destination.namespace or None, "eventhub": destination.eventhub or None}


def table(header: Sequence[str], rows: Sequence[Sequence[str | int]], *, left: int) -> str:
    """Return a table, one row a line.

    Args:
        header: names of the columns.
        rows: as many cells each; numbers get separators of thousands.
        left: number of text columns, which come first; the others are numbers.
    """
    lines = [
        list(header),
        *([f"{cell:,}" if isinstance(cell, int) else cell for cell in row] for row in rows),
    ]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return "".join(
        "  ".join(
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        + "\n"
        for line in lines
    )
