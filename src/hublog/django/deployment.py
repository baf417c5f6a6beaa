"""How the application is deployed: the number of workers and the options of uWSGI, read before they start."""

import configparser
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Final

_SERVERS: Final = frozenset({"gunicorn", "uvicorn", "hypercorn", "granian"})
_VARIABLES: Final = ("WEB_CONCURRENCY", "UWSGI_PROCESSES", "UWSGI_WORKERS")
_LONG: Final = "--workers"
_SHORT: Final = "-w"


def known_workers(
    environ: Mapping[str, str] = os.environ,
    arguments: Sequence[str] | None = None,
    modules: Mapping[str, object] = sys.modules,
) -> int:
    """Return the configured number of workers; 0 if it is unknown.

    Args:
        environ: ``WEB_CONCURRENCY``, ``GUNICORN_CMD_ARGS``, ``UWSGI_PROCESSES`` and ``UWSGI_WORKERS``.
        arguments: of this process, its name first; default ``sys.argv``.
        modules: imported modules; uWSGI provides one.
    """
    numbers = [_number(environ.get(name, "")) for name in _VARIABLES]
    numbers.append(_from_arguments(_split(environ.get("GUNICORN_CMD_ARGS", ""))))
    program, *rest = (sys.argv if arguments is None else arguments) or [""]
    if PurePath(program).stem in _SERVERS:
        numbers.append(_from_arguments(rest))
    processes = getattr(modules.get("uwsgi"), "numproc", 0)
    numbers.append(processes if isinstance(processes, int) else 0)
    return max(numbers)


def _from_arguments(arguments: Sequence[str]) -> int:
    """Return the last number, as the servers do."""
    number = 0
    for at, argument in enumerate(arguments):
        if argument in (_LONG, _SHORT):
            number = _number(arguments[at + 1]) if at + 1 < len(arguments) else number
        elif argument.startswith(f"{_LONG}="):
            number = _number(argument.removeprefix(f"{_LONG}="))
        elif argument.startswith(_SHORT):
            number = _number(argument.removeprefix(_SHORT).removeprefix("=")) or number
    return number


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:  # an unclosed quotation
        return text.split()


def _number(text: str) -> int:
    text = text.strip()
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else 0  # noqa: PLR2004  # digits of a plausible number


_PREFIX: Final = "UWSGI_"
_SECTION: Final = "uwsgi"
_NAME: Final = "uwsgi.ini"
_MAX_BYTES: Final = 1 << 20


def written_options(folders: list[Path], environ: Mapping[str, str]) -> dict[str, object]:
    """Return the options of ``uwsgi.ini`` and of the environment, by their names with dashes.

    A variable ``UWSGI_SKIP_ATEXIT`` is the option ``skip-atexit``, and wins over the file. A file that cannot
    be read is ignored, and so are included files.

    Args:
        folders: possible directories of the file; the first one that has it counts.
        environ: the environment.
    """
    found: dict[str, object] = {}
    for folder in folders:
        path = folder / _NAME
        if path.is_file():
            found |= _read(path)
            break
    for name, value in environ.items():
        if name.startswith(_PREFIX):
            found[name.removeprefix(_PREFIX).lower().replace("_", "-")] = value
    return found


def _read(path: Path) -> dict[str, object]:
    # Like uWSGI: no interpolation, names may be repeated, a name without a value is true.
    parser = configparser.RawConfigParser(strict=False, allow_no_value=True, delimiters=("=",))
    try:
        if path.stat().st_size > _MAX_BYTES:
            return {}
        parser.read_string(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, configparser.Error):
        return {}
    if not parser.has_section(_SECTION):
        return {}
    return {name: value or True for name, value in parser.items(_SECTION)}
