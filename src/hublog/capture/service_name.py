"""The name of a service that nobody has named: every query groups by it, so it is never left empty."""

import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

#: As OpenTelemetry calls a service that is not named.
UNKNOWN: Final = "unknown_service"
#: Of Django's settings, where the package says what it holds and not what the project is.
_GENERIC: Final = frozenset(
    {"config", "conf", "core", "django_project", "main", "proj", "project", "settings"}
)
#: Programs that run an application, and are not it.
_LAUNCHERS: Final = frozenset(
    {
        "__main__",
        "celery",
        "daphne",
        "django-admin",
        "dramatiq",
        "flask",
        "granian",
        "gunicorn",
        "huey_consumer",
        "hypercorn",
        "hublog",
        "ipykernel_launcher",
        "ipython",
        "manage",
        "mod_wsgi-express",
        "py.test",
        "pydevd",
        "pytest",
        "rq",
        "runpy",
        "uvicorn",
        "uwsgi",
        "waitress",
        "waitress-serve",
    }
)

#: Give the name that the application has in its framework, in the order of its adapters.
_suggestions: Final[dict[str, Callable[[], str]]] = {}


def suggest(framework: str, name: Callable[[], str]) -> None:
    """Have a framework's own name for the application used where nothing else names the service.

    Args:
        framework: whose name it is; the first application of each counts.
        name: returns it, or an empty string.
    """
    _suggestions.setdefault(framework, name)


def default_name(environ: Mapping[str, str] = os.environ, modules: Mapping[str, object] = sys.modules) -> str:
    """Return the name of the Flask app, Django project, Celery app or script, else ``unknown_service``."""
    ways: list[Callable[[], str]] = [
        *_suggestions.values(),
        lambda: _of_django(environ, modules),
        lambda: _of_script(modules),
    ]
    for name in ways:
        with suppress(Exception):  # a foreign object may do anything; a log call never raises
            found = str(name()).strip()
            if found and found != "__main__":
                return found
    return UNKNOWN


def _of_django(environ: Mapping[str, str], modules: Mapping[str, object]) -> str:
    """Return the package of the project's settings, or the directory that holds it."""
    package = environ.get("DJANGO_SETTINGS_MODULE", "").partition(".")[0]
    if "django.conf" not in modules or package.lower() not in _GENERIC:
        return package if "django.conf" in modules else ""
    file = getattr(modules.get(package), "__file__", None)
    folders = getattr(modules.get(package), "__path__", None)
    place = Path(next(iter(folders))) if folders else Path(file or "settings.py").absolute()
    return place.parent.name or package


def _of_script(modules: Mapping[str, object]) -> str:
    """Return the name of the program: of the module after ``-m``, or of the file."""
    main = modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    file = getattr(main, "__file__", None)
    name = spec.name.removesuffix(".__main__") if spec is not None else Path(file).stem if file else ""
    # Console scripts lie in a directory of programs, whatever they start.
    is_launcher = name.partition(".")[0] in _LAUNCHERS or (file is not None and _is_in_bin(file))
    return "" if is_launcher else name


def _is_in_bin(file: str) -> bool:
    return Path(file).parent.name in ("bin", "Scripts") and not file.endswith(".py")
