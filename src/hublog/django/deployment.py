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
    """Return the number of workers that somebody has asked for; 0 if nobody has said it here.

    Args:
        environ: ``WEB_CONCURRENCY``, ``GUNICORN_CMD_ARGS``, ``UWSGI_PROCESSES`` and ``UWSGI_WORKERS``.
        arguments: of this process, its name first; default ``sys.argv``.
        modules: what is imported: uWSGI has a module of its own.
    """
    found = [_number(environ.get(name, "")) for name in _VARIABLES]
    found.append(_from_arguments(_split(environ.get("GUNICORN_CMD_ARGS", ""))))
    program, *rest = (sys.argv if arguments is None else arguments) or [""]
    if PurePath(program).stem in _SERVERS:
        found.append(_from_arguments(rest))
    processes = getattr(modules.get("uwsgi"), "numproc", 0)
    found.append(processes if isinstance(processes, int) else 0)
    return max(found)


def _from_arguments(arguments: Sequence[str]) -> int:
    """Return the last number that is given, as the servers do."""
    found = 0
    for at, argument in enumerate(arguments):
        if argument in (_LONG, _SHORT):
            found = _number(arguments[at + 1]) if at + 1 < len(arguments) else found
        elif argument.startswith(f"{_LONG}="):
            found = _number(argument.removeprefix(f"{_LONG}="))
        elif argument.startswith(_SHORT):
            found = _number(argument.removeprefix(_SHORT).removeprefix("=")) or found
    return found


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:  # a quotation that does not end
        return text.split()


def _number(text: str) -> int:
    text = text.strip()
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else 0  # noqa: PLR2004  # digits of a sane number


_PREFIX: Final = "UWSGI_"
_SECTION: Final = "uwsgi"
_NAME: Final = "uwsgi.ini"
_MAX_BYTES: Final = 1 << 20


def written_options(folders: list[Path], environ: Mapping[str, str]) -> dict[str, object]:
    """Return the options of ``uwsgi.ini`` and of the environment, by their names with dashes.

    A variable ``UWSGI_SKIP_ATEXIT`` is the option ``skip-atexit``, and goes before the file. Of a file that
    cannot be read nothing is known; what it includes is not looked at.

    Args:
        folders: where the file may lie; the first one that has it counts.
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
    # As uWSGI reads it: no interpolation, names may be given again, a name alone switches on.
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
