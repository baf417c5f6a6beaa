"""What the deployments put into the environment of an application."""

from hublog.capture import resource
from hublog.settings import SETTINGS, read_settings

#: Names that a deployment may set and that are none of hublog's, with who reads them.
OF_OTHERS = {
    "AZURE_CLIENT_ID": "azure-identity: which user-assigned identity signs in",
    "AZURE_TOKEN_CREDENTIALS": "azure-identity: leaves out the ways of a developer's machine",
    "GUNICORN_CMD_ARGS": "gunicorn: its options",
    "HOME": "libraries that write below it; the account of the image has none",
    "SCM_DO_BUILD_DURING_DEPLOYMENT": "App Service: installs requirements.txt",
    "WEB_CONCURRENCY": "gunicorn: its workers",
    "WEBSITES_ENABLE_APP_SERVICE_STORAGE": "App Service: whether /home is the share of all instances",
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
