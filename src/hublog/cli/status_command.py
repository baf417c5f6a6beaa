"""``hublog status``: what is true on this machine now; no network is asked."""

import argparse
import json
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from hublog.capture.removal import findings
from hublog.cli.caller import FAILURE, OK, Caller
from hublog.cli.kinds import add_config
from hublog.doctor.places import whole
from hublog.errors import HublogError
from hublog.settings import SpoolMode

if TYPE_CHECKING:
    from hublog.cli.status_report import Status

#: Whoever lives looks every second and a half for what dead processes left, and takes it over.
LOOK_AGAIN_S: Final = 2.0


def add_status(parser: argparse.ArgumentParser) -> None:
    """Give ``hublog status`` its arguments."""
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_config(parser)


def run_status(
    options: argparse.Namespace, caller: Caller, *, pause: Callable[[float], None] = time.sleep
) -> int:
    """Print what is true now; exit status 1 if somebody has to do something."""
    from hublog.cli.status_report import as_json, as_text  # noqa: PLC0415  # for this command only
    from hublog.doctor.report import printable  # noqa: PLC0415

    status = _look(options, caller, pause)
    if options.json:
        json.dump(as_json(status), caller.out, indent=2)
        caller.out.write("\n")
    else:
        caller.out.write(printable(as_text(status), caller.out))
    return FAILURE if status.problems else OK


def _look(options: argparse.Namespace, caller: Caller, pause: Callable[[float], None]) -> "Status":
    from hublog.cli.status_report import LogFile, Status  # noqa: PLC0415  # for this command only
    from hublog.cli.waiting import waiting_in  # noqa: PLC0415  # needs locks that not every system has
    from hublog.configure.attached import contradictions  # noqa: PLC0415  # for this command only
    from hublog.runtime.pipeline import NOT_CONFIGURED  # noqa: PLC0415  # for this command only

    reading = caller.read(options.config)
    settings = reading.settings
    hub = settings.eventhub
    root, waiting, trouble = whole(settings.spool_dir), None, ""
    if os.path.lexists(root):
        try:
            waiting = waiting_in(root, hub)
            if waiting.stranded:
                # Left a moment ago, perhaps, and about to be taken over.
                pause(LOOK_AGAIN_S)
                waiting = waiting_in(root, hub)
        except HublogError as error:
            trouble = str(error)
    attached = caller.find_attached()
    told = [*reading.problems, *([trouble] if trouble else ()), *(waiting.problems if waiting else ())]
    told += findings() if attached is not None else []
    if hub.enabled and not hub.is_configured:
        told.append(NOT_CONFIGURED)
    return Status(
        settings=settings,
        framework=caller.framework,
        attached=attached,
        spool_dir=root,
        is_spooled=hub.enabled and hub.spool is not SpoolMode.MEMORY,
        waiting=waiting,
        log_files=tuple(LogFile.at(path) for path in caller.find_log_files(settings)),
        overrides=(
            *(override.text for override in reading.overrides),
            *reading.quoted_text,
            *(contradictions(reading) if attached is not None else ()),
        ),
        problems=tuple(told),
    )
