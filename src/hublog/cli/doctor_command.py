"""``hublog doctor``: tries the way to the Event Hub step by step."""

import argparse
import shutil
from pathlib import Path

from hublog.cli.caller import FAILURE, OK, Caller
from hublog.cli.kinds import add_config
from hublog.doctor.steps import Result, ok, warn
from hublog.settings import EventHubSettings


def add_doctor(parser: argparse.ArgumentParser) -> None:
    """Give ``hublog doctor`` its arguments."""
    parser.add_argument(
        "--send", action="store_true", help="send one record too, with the event_name hublog.doctor"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_config(parser)


def run_doctor(options: argparse.Namespace, caller: Caller) -> int:
    """Examine what is in force, and tell each step."""
    from hublog.doctor import examine, steps  # noqa: PLC0415  # the client's senders, for this command only

    patient = examine.Patient(
        reading=caller.read(options.config),
        framework=caller.framework,
        names=caller.find_names(),
        find_results=caller.find_results,
        find_log_files=caller.find_log_files,
        find_attached=caller.find_attached,
        look_at_spool=_look_at_spool,
        is_sent=options.send,
    )
    results = examine.examine(patient)
    if options.json:
        seen = steps.write_json(results, caller.out)
    else:
        width = shutil.get_terminal_size().columns if caller.out.isatty() else None
        seen = steps.write_lines(results, caller.out, width=width)
    return FAILURE if steps.has_failed(seen) else OK


def _look_at_spool(root: Path, hub: EventHubSettings) -> Result:
    """Tell what waits in a spool that can be used."""
    from hublog.cli.backlog import waiting_in  # noqa: PLC0415  # needs locks that not every system has

    found = waiting_in(root, hub)
    if found.problems:
        return warn("spool", f"{root} can be used; {found.text}", " ".join(found.problems))
    return ok("spool", f"{root} can be used; {found.text}")
