"""What does not change while the process and its children live: service, host, container, cloud."""

import os
import re
import socket
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from hublog._version import __version__
from hublog.capture.columns import SCHEMA_VERSION
from hublog.capture.json_safe import plain
from hublog.capture.typed_columns import put
from hublog.settings import ServiceSettings

#: As OpenTelemetry calls a service that is not named.
UNKNOWN: Final = "unknown_service"
#: Of Django's settings, where the package says what it holds and not what the project is.
_GENERIC: Final = frozenset(
    {"config", "conf", "core", "django_project", "main", "proj", "project", "settings"}
)
#: Programs that run an application, and are not it.
_LAUNCHERS: Final = frozenset(
    (
        *("__main__", "django-admin", "flask", "hublog", "manage"),
        *("celery", "dramatiq", "huey_consumer", "rq"),
        *("daphne", "granian", "gunicorn", "hypercorn", "mod_wsgi-express", "uvicorn", "uwsgi", "waitress"),
        *("waitress-serve", "ipykernel_launcher", "ipython", "py.test", "pydevd", "pytest", "runpy"),
    )
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
            stripped = str(name()).strip()
            if stripped and stripped != "__main__":
                return stripped
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


#: The first of these variables that is set gives the column its value.
_FROM_ENVIRONMENT: Final[dict[str, tuple[str, ...]]] = {
    "service_name": ("WEBSITE_SITE_NAME", "CONTAINER_APP_NAME"),
    "service_version": ("CONTAINER_APP_REVISION",),
    "service_instance_id": ("WEBSITE_INSTANCE_ID", "CONTAINER_APP_REPLICA_NAME", "K8S_POD_NAME", "POD_NAME"),
    "k8s_namespace": ("K8S_NAMESPACE", "K8S_NAMESPACE_NAME", "POD_NAMESPACE"),
    "k8s_pod_name": ("K8S_POD_NAME", "POD_NAME"),
    "k8s_node_name": ("K8S_NODE_NAME", "NODE_NAME"),
    "cloud_region": ("REGION_NAME", "CLOUD_REGION", "AZURE_REGION"),
}

_CONTAINER_ID = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")


def process_fields(
    service: ServiceSettings,
    *,
    framework: str = "",
    environ: Mapping[str, str] = os.environ,
    host_name: Callable[[], str] = socket.gethostname,
    proc: Path = Path("/proc/self"),
    find_name: Callable[[], str] = default_name,
) -> dict[str, object]:
    """Return the columns that every record of this process shares; empty ones are left out.

    Args:
        service: what the configuration says; it wins over the environment.
        framework: ``django``, ``flask`` or empty.
        environ: where Azure App Service, Container Apps and Kubernetes set their names.
        host_name: gives the name of this machine; an error counts as no name.
        proc: where ``cgroup`` and ``mountinfo`` of this process lie.
        find_name: gives the name of a service that has none in the configuration and environment.
    """
    fields: dict[str, object] = {"framework": framework}
    for name, variables in _FROM_ENVIRONMENT.items():
        fields[name] = next((environ[key] for key in variables if environ.get(key)), "")
    try:
        fields["host_name"] = host_name()
    except OSError:
        fields["host_name"] = ""
    fields["container_id"] = _container_id(proc)
    stated = {
        "service_name": service.name,
        "service_namespace": service.namespace,
        "service_version": service.version,
        "service_instance_id": service.instance_id,
        "environment": service.environment,
    }
    fields.update({name: value for name, value in stated.items() if value})
    fields["service_name"] = fields["service_name"] or find_name()
    fields["service_instance_id"] = fields["service_instance_id"] or fields["host_name"]
    fields["schema_version"] = SCHEMA_VERSION
    fields["handler_version"] = __version__
    columns: dict[str, object] = {}
    for name, value in fields.items():
        put(columns, name, plain(value))  # a variable of the environment need not be UTF-8
    return columns


def is_named(service: ServiceSettings, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether the configuration or the platform names the service."""
    return bool(service.name or any(environ.get(key) for key in _FROM_ENVIRONMENT["service_name"]))


def _container_id(proc: Path) -> str:
    for name in ("cgroup", "mountinfo"):
        try:
            text = (proc / name).read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        for line in text.splitlines():
            # In mountinfo other images' ids may stand; the container's own is in the path of its hosts file.
            container_id = _CONTAINER_ID.search(line)
            if container_id and (name == "cgroup" or "/hostname" in line):
                return container_id.group()
    return ""
