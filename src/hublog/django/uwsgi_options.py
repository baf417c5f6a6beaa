"""The options of uWSGI as they stand in its configuration, for a check that is made before it runs."""

import configparser
from collections.abc import Mapping
from pathlib import Path
from typing import Final

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
