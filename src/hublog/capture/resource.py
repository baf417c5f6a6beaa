"""What does not change while the process and its children live: service, host, container, cloud."""

import os
import re
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from hublog._version import __version__
from hublog.capture.columns import SCHEMA_VERSION
from hublog.capture.json_safe import plain
from hublog.capture.service_name import default_name
from hublog.capture.typed_columns import put
from hublog.settings import ServiceSettings

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
        service: what the configuration says; it wins over what is found in the surroundings.
        framework: ``django``, ``flask`` or empty.
        environ: where Azure App Service, Container Apps and Kubernetes tell their names.
        host_name: gives the name of this machine; an error counts as no name.
        find_name: gives the name of a service that nobody has named.
        proc: where ``cgroup`` and ``mountinfo`` of this process lie.
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
        # In mountinfo other images' ids may stand too; the container's own is in the path of its hosts file.
        lines = (
            text.splitlines()
            if name == "cgroup"
            else [row for row in text.splitlines() if "/hostname" in row]
        )
        found = next((match for row in lines if (match := _CONTAINER_ID.search(row))), None)
        if found:
            return found.group()
    return ""
