"""Where records are written to disk, and the server that ends the process."""

from collections.abc import Iterator

from django.core.checks import CheckMessage

from hublog.django.checks.table import message
from hublog.django.logging_dict import read_logging
from hublog.django.project import read_project
from hublog.doctor.places import why_no_log_file, why_no_spool
from hublog.servers import advice
from hublog.settings import SpoolMode


def find_unusable_spool() -> Iterator[CheckMessage]:
    """Try the spool directory; nothing is left behind."""
    settings = read_project().settings
    hub = settings.eventhub
    if hub.enabled and hub.is_configured and hub.spool is not SpoolMode.MEMORY:
        reason = why_no_spool(settings.spool_dir)
        if reason:
            yield message("W010", f"The spool directory {settings.spool_dir} cannot be used: {reason}.")


def find_unwritable_files() -> Iterator[CheckMessage]:
    """Try the files that ``LOGGING`` names; nothing is left behind."""
    for path in read_logging().files():
        reason = why_no_log_file(path)
        if reason:
            yield message("W011", f"The log file {path} cannot be written: {reason}.")


def find_server_trouble() -> Iterator[CheckMessage]:
    """Find what the server of this process does to records; most is seen only inside of it."""
    for line in advice(read_project().settings.eventhub):
        yield message("W009", line)
