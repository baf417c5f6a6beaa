"""The extra ``local``: what it holds is asked for before anything starts."""

from importlib.util import find_spec
from typing import Final

_MEMBERS: Final = ("duckdb", "duckdb_kql", "rich")


def need_extra(*packages: str) -> None:
    """Check that packages of the extra ``local`` are installed; all of them if none is named.

    Raises:
        ImportError: one is missing; the message says how to install it.
    """
    missing = [name for name in packages or _MEMBERS if find_spec(name) is None]
    if missing:
        raise ImportError(f"This needs {' and '.join(missing)}: pip install 'hublog[local]'.")
