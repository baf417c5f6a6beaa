"""What the deployments put into the environment of an application."""

from hublog.capture import resource
from hublog.settings import SETTINGS, read_settings

#: Names that a deployment may set and that are none of hublog's, with who reads them.
OF_OTHERS = {
    "AZURE_CLIENT_ID": "azure-identity: which user-assigned identity signs in",
    "GUNICORN_CMD_ARGS": "gunicorn: its options",
    "HOME": "libraries that write below it; the account of the image has none",
    "WEB_CONCURRENCY": "gunicorn: its workers",
    "WEBSITES_CONTAINER_STOP_TIME_LIMIT": "App Service: seconds from SIGTERM to SIGKILL, 5 unless it is set",
}
#: Names that give a column its value.
OF_COLUMNS = {name for names in resource._FROM_ENVIRONMENT.values() for name in names}
OF_SETTINGS = {setting.name for setting in SETTINGS}


def unknown(names):
    """Return the names that nobody is known to read."""
    return set(names) - OF_SETTINGS - OF_COLUMNS - OF_OTHERS.keys()


def settings_of(environ):
    """Return the settings of a process with this environment; anything invalid fails."""
    reading = read_settings(environ=environ)
    assert reading.problems == ()
    assert reading.notices == ()
    return reading.settings


def option(environ, name):
    """Return the value of an option of gunicorn."""
    [found] = [each for each in environ["GUNICORN_CMD_ARGS"].split() if each.startswith(f"{name}=")]
    return found.partition("=")[2]
