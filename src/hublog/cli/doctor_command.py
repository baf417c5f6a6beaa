"""``hublog doctor``: checks the connection to the Event Hub step by step."""

import argparse
import shutil
from pathlib import Path

from hublog.cli.caller import FAILURE, OK, Caller
from hublog.cli.kinds import add_config
from hublog.doctor.steps import StepResult, ok, warn
from hublog.settings import EventHubSettings


def add_doctor(parser: argparse.ArgumentParser) -> None:
    """Give ``hublog doctor`` its arguments."""
    parser.add_argument(
        "--send", action="store_true", help="also send one record, with the event_name hublog.doctor"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_config(parser)


def run_doctor(options: argparse.Namespace, caller: Caller) -> int:
    """Run the doctor's steps and print their results."""
    from hublog.doctor import diagnosis, steps  # noqa: PLC0415  # loads the client

    inputs = diagnosis.DoctorInput(
        reading=caller.read(options.config),
        framework=caller.framework,
        names=caller.find_names(),
        find_results=caller.find_results,
        find_log_files=caller.find_log_files,
        find_attached=caller.find_attached,
        check_spool_content=_check_spool_content,
        sends_record=options.send,
    )
    results = diagnosis.diagnose(inputs)
    if options.json:
        seen = steps.write_json(results, caller.out)
    else:
        width = shutil.get_terminal_size().columns if caller.out.isatty() else None
        seen = steps.write_lines(results, caller.out, width=width)
    return FAILURE if steps.has_failed(seen) else OK


def _check_spool_content(root: Path, hub: EventHubSettings) -> StepResult:
    """Check the records in a spool that can be used."""
    from hublog.cli.spool_summary import summarize_spool  # noqa: PLC0415  # needs fcntl

    summary = summarize_spool(root, hub)
    if summary.problems:
        return warn("spool", f"{root} can be used; {summary.text}", " ".join(summary.problems))
    return ok("spool", f"{root} can be used; {summary.text}")
