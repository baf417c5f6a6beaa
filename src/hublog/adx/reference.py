"""The columns for people: as Markdown for the documents, and as plain lines for the shell."""

from hublog.capture.columns import COLUMNS


def columns_markdown() -> str:
    """Return the reference table of the documents."""
    rows = ["| # | column | type | group | from | meaning |", "| ---: | --- | --- | --- | --- | --- |"]
    for number, column in enumerate(COLUMNS, start=1):
        cells = (
            str(number),
            f"`{column.name}`",
            column.kind.value,
            column.group.value,
            column.source.replace("|", "\\|"),
            column.description.replace("|", "\\|"),
        )
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def columns_text() -> str:
    """Return one line a column, in the order of the table: name, type, group, meaning."""
    widths = [max(len(getattr(column, part)) for column in COLUMNS) for part in ("name", "kind", "group")]
    return "".join(
        f"{column.name:<{widths[0]}}  {column.kind.value:<{widths[1]}}  {column.group.value:<{widths[2]}}"
        f"  {column.description}\n"
        for column in COLUMNS
    )
