"""Writes ``docs/performance.md`` anew from the results: what stands between its marks, and the plots."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.figures import (
    CALL,
    DESTINATION,
    FIGURES,
    GROWTH,
    PROCESS,
    REQUEST,
    SERVER,
    TIMES,
    missed,
    shown,
)
from benchmarks.plots import FRAMEWORKS, PLOTS, WAYS

#: What stands between ``<!-- benchmark: name -->`` and ``<!-- end -->`` is written anew.
_BLOCK: Final = re.compile(r"(<!-- benchmark: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
_PARTS: Final = {
    "request": REQUEST,
    "server": SERVER,
    "call": CALL,
    "destination": DESTINATION,
    "process": PROCESS,
    "growth": GROWTH,
}


def write_page(results: Mapping[str, Any], page: Path) -> None:
    """Write the page, and its plots into the folder ``pictures`` next to it."""
    page.write_text(filled(page.read_text(encoding="utf-8"), results), encoding="utf-8")
    for name, (part, draw) in PLOTS.items():
        if part in results["parts"]:
            (page.parent / "pictures" / f"{name}.svg").write_text(draw(results), encoding="utf-8")


def filled(text: str, results: Mapping[str, Any]) -> str:
    """Return the text of the page with what stands between its marks written anew.

    Raises:
        KeyError: a mark has a name that is not known.
    """
    made = blocks(results)
    return _BLOCK.sub(lambda match: f"{match[1]}{made[match[2]]}\n{match[3]}", text)


def blocks(results: Mapping[str, Any]) -> dict[str, str]:
    """Return what the page says of the results, by the names of its marks."""
    values = {name: figure["value"] for name, figure in results["figures"].items()}
    made = {name: _table(part, values) for name, part in _PARTS.items()}
    return {
        **made,
        "machine": _machine(results),
        "missed": _missed(values),
        "requests": _requests(results),
        "peers": _peers(results),
    }


def _rows(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table in Markdown."""
    lines = (" | ".join(map(str, cells)) for cells in (head, ["---"] * len(head), *rows))
    return "\n".join(f"| {line} |" for line in lines)


def _table(part: str, values: Mapping[str, float]) -> str:
    measured = [figure for figure in FIGURES if figure.part == part and figure.name in values]
    rows = [
        (
            figure.text,
            shown(values[figure.name]),
            figure.bound(figure.must),
            figure.bound(figure.aim),
            figure.verdict(values[figure.name]),
            f"`{figure.name}`",
        )
        for figure in measured
    ]
    return _rows(("figure", "value", "must", "aim", "verdict", "name"), rows)


def _machine(results: Mapping[str, Any]) -> str:
    machine, parts = results["machine"], results["parts"].values()
    versions = ", ".join(f"{name} {number}" for name, number in results["versions"].items())
    where = (
        f"{machine['processor']}, {machine['cores']} cores, {machine['system']}, Python {results['python']}"
    )
    days = " and ".join(sorted({part["at"][:10] for part in parts}))
    seconds = sum(part["seconds"] for part in parts)
    is_quick = any(part["is_quick"] for part in parts)
    loads = [part["load"] for part in parts]
    return "\n".join(
        [
            f"Measured on {days}: {where}.",
            f"Versions: {versions}.",
            *(["Parts of it are a short look (`--quick`), whose figures mean little."] if is_quick else []),
            f"It took {seconds:,} s; the load average before its parts was {min(loads):g} to {max(loads):g}.",
        ]
    )


def _missed(values: Mapping[str, float]) -> str:
    failures = missed(values)
    judged = [figure for figure in FIGURES if figure.must is not None and figure.name in values]
    if not failures:
        return f"Each of the {len(judged)} musts is reached."
    lines = [f"Of {len(judged)} musts {len(judged) - len(failures)} are reached; these are missed:", ""]
    lines += [
        f"- `{figure.name}`, {figure.text}: {shown(values[figure.name])}, must be {figure.bound(figure.must)}"
        for figure in failures
    ]
    return "\n".join(lines)


def _requests(results: Mapping[str, Any]) -> str:
    """Return the rows of each framework and shape: what is added to a NullHandler."""
    ours = (f"{WAYS[way]}, +µs" for way in _SHOWN)
    head = ("application", "records", "threads", "NullHandler, µs", *ours)
    rows = [
        (
            FRAMEWORKS[framework],
            f"{shape['records']} + 1",
            shape["threads"],
            f"{shape['ways']['null']['cpu_us']:.0f}",
            *(f"{shape['ways'][way]['added_us']:.0f}" if way in shape["ways"] else "" for way in _SHOWN),
        )
        for framework, shapes in results["parts"]["requests"]["details"].items()
        for shape in shapes
        if not (shape["queries"] or shape["parts"])
    ]
    return _rows(head, rows)


def _peers(results: Mapping[str, Any]) -> str:
    if "peers" not in results["parts"]:
        return "Not measured yet."
    ways = results["parts"]["peers"]["details"]["flask"][0]["ways"]
    rows = [
        (WAYS[name], f"{way['cpu_us']:.0f}", f"{TIMES} {way['x_null']:.2f}", f"{way['added_us']:+.0f}")
        for name, way in ways.items()
    ]
    table = _rows(("way to log", "CPU, µs", "over a NullHandler", "added, µs"), rows)
    return f"{table}\n\n![CPU of a request with hublog and its peers](pictures/performance_peers.svg)"


_SHOWN: Final = ("off", "hub", "file", "console", "file_console", "hub_file", "all", "structlog")
