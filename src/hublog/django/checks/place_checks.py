"""Where records are written to disk, and the server that ends the process."""

import os
from collections.abc import Iterator
from pathlib import Path

from django.conf import settings
from django.core.checks import CheckMessage

from hublog.configure.file_log import FileLogHandler
from hublog.django.checks.table import message
from hublog.django.logging_dict import read_logging
from hublog.django.project import read_project
from hublog.django.uwsgi_options import written_options
from hublog.doctor.places import why_no_log_file, why_no_spool
from hublog.servers import advice, uwsgi_advice
from hublog.settings import SpoolMode


def find_unusable_spool() -> Iterator[CheckMessage]:
    """Try the spool directory; nothing is left behind."""
    read = read_project().settings
    hub = read.eventhub
    if hub.enabled and hub.is_configured and hub.spool is not SpoolMode.MEMORY:
        reason = why_no_spool(read.spool_dir)
        if reason:
            yield message("W010", f"The spool directory {read.spool_dir} cannot be used: {reason}.")


def find_unwritable_files() -> Iterator[CheckMessage]:
    """Try the files that ``LOGGING`` names; nothing is left behind."""
    found = read_logging()
    ours = [found.file_of(name) for name in found.of_class(FileLogHandler)]
    for path in found.files():
        reason = why_no_log_file(path, is_ours=path in ours)
        if reason:
            yield message("W011", f"The log file {path} cannot be written: {reason}.")


def find_uwsgi_trouble() -> Iterator[CheckMessage]:
    """Find options in uWSGI's configuration that cost records, before it runs."""
    hub = read_project().settings.eventhub
    if hub.enabled and hub.is_configured:
        for line in uwsgi_advice(written_options(_folders(), os.environ), hub):
            yield message("W016", line)


def _folders() -> list[Path]:
    base = getattr(settings, "BASE_DIR", None)
    return [Path.cwd(), *([Path(base)] if isinstance(base, str | Path) else [])]


def find_server_trouble() -> Iterator[CheckMessage]:
    """Find what the server of this process does to records; most is seen only inside of it."""
    for line in advice(read_project().settings.eventhub):
        yield message("W009", line)
