"""The door to the project's settings, for the app, the checks and the middleware."""

from django.conf import settings

from hublog.doctor.names import BEGINNINGS
from hublog.settings import Reading, read_settings


def lookup(name: str) -> object | None:
    """Return a Django setting by its name, None where it is not set."""
    return getattr(settings, name, None)


def read_project() -> Reading:
    """Read hublog's settings as they stand in the project and the environment now."""
    return read_settings(framework=lookup)


def project_names() -> dict[str, object]:
    """Return what of the project's settings may be meant for hublog, rightly named or not."""
    return {name: lookup(name) for name in dir(settings) if name.startswith(BEGINNINGS)}
