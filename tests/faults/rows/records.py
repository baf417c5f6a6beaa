"""Section 8 of the matrix: odd records, and logging from within logging."""

import re
from typing import Final

from tests.faults.expect import Expect
from tests.faults.matrix import disk, row, same
from tests.faults.rows.broker_faults import end
from tests.faults.scene import Scene

_CLEAN: Final = Expect()
#: Half of the records come from ``__del__`` or a signal handler, in the middle of others.
_NESTED: Final = Expect()
_STRANGE: Final = 3 * 13
_OWN_RECORDS_PER_FAILURE: Final = 10


def _rows_by_id(scene: Scene) -> dict[str, dict[str, object]]:
    return {
        found["extra"]["fault_id"]: found
        for found in scene.broker.rows()
        if "fault_id" in found.get("extra", {})
    }


def _check_neighbours(scene: Scene) -> None:
    for id_, found in _rows_by_id(scene).items():
        extra = found["extra"]
        if isinstance(extra, dict) and not id_.startswith("inside"):
            scene.check(extra.get("neighbour") == "kept", f"the neighbour of {id_} came as {extra}")


@row("R1", "values that JSON does not know", same(_CLEAN))
def _r1(scene: Scene) -> None:
    scene.run("odd", "strange")
    logged = len(scene.books.journal())
    scene.check(logged == _STRANGE, f"{logged} records were logged")
    _check_neighbours(scene)


# The conversion that sleeps two seconds is the application's own; the innermost records are refused.
@row(
    "R2", "conversions that raise, leave, log, sleep", same(Expect(call_us=60e6, unconfirmed=10)), seconds=15
)
def _r2(scene: Scene) -> None:
    program = scene.run("odd", "hostile")
    scene.check("survived" in program.text(), f"the program did not survive: {program.tail()}")
    raised = re.findall(r"(\S+) raised (\S+)", program.text())
    scene.check(not raised, f"left out of a log call: {raised}")
    inside = {arrival.id for arrival in scene.broker.arrivals if arrival.id.startswith("inside-")}
    scene.check(len(inside) >= 2, f"of the records inside others {sorted(inside)} came")
    _check_neighbours(scene)


@row("R3", "records of 1 and 10 MiB", same(Expect(call_us=10e6)), seconds=10)
def _r3(scene: Scene) -> None:
    scene.run("odd", "large")
    for found in scene.broker.rows():
        scene.check(
            found.get("truncated") is True, f"{found.get('event_name')} came without the mark of a cut"
        )
        extra = found.get("extra")
        size = extra.get("original_bytes", 0) if isinstance(extra, dict) else 0
        scene.check(size >= 1 << 20, f"{found.get('event_name')} came with {size} as its original size")


@row("R4", "a signal handler logs inside a log call", same(_NESTED), seconds=8)
def _r4(scene: Scene) -> None:
    text = scene.run("odd", "timer").text()
    found = re.search(r"(\d+) signals", text)
    scene.check(found and int(found[1]) >= 10, f"too few signals: {text}")


@row("R5", "__del__ logs inside a log call", same(_NESTED), seconds=8)
def _r5(scene: Scene) -> None:
    text = scene.run("odd", "garbage").text()
    found = re.search(r"(\d+) cycles", text)
    dying = sum(id_.startswith("dying-") for id_ in scene.books.journal())
    scene.check(found and dying == int(found[1]), f"{dying} of the dying logged: {text}")


@row(
    "R6",
    "the client's own records at DEBUG, broker down",
    disk(_CLEAN, memory=Expect(dropped=None)),
    seconds=8,
)
def _r6(scene: Scene) -> None:
    fault = scene.broker.faults.add("refuse", times=None)
    level = {"LOG_LEVEL": "DEBUG", "EVENTHUB_LOG_LEVEL": "DEBUG", "EVENTHUB_LOG_CIRCUIT_COOLDOWN": "0.2"}
    program = scene.run("odd", "verbose", **level)
    for book in scene.books.processes():
        own = sum(stats["accepted_total"] for stats in book["stats"]) - book["calls"]
        most = _OWN_RECORDS_PER_FAILURE * max(1, fault.fired_total)
        scene.check(own <= most, f"{own} records of the client's for {fault.fired_total} connections")
    reports = [line for line in program.text().splitlines() if "hublog" in line]
    probes = [line for line in reports if line.startswith("DEBUG")]
    scene.check(len(reports) - len(probes) <= 3, f"on standard error: {reports}")
    # The reader asked for DEBUG: a probe may say that it begins and how it ended.
    scene.check(len(probes) <= 2 * fault.fired_total, f"{len(probes)} lines for {fault.fired_total} probes")


@row("R7", "a filter that raises or changes the record", same(Expect(unconfirmed=1)))
def _r7(scene: Scene) -> None:
    scene.run("odd", "meddling")
    found = _rows_by_id(scene).get("after", {}).get("extra")
    scene.check(isinstance(found, dict) and found.get("neighbour") == "kept", f"after came with {found}")


@row("R8", "warnings, hooks, asyncio's debug mode", same(_CLEAN))
def _r8(scene: Scene) -> None:
    program = scene.program("odd", "captured")
    status = scene.end(program, is_timed=False)
    scene.check(status == 1, f"the status is {status}")
    texts = [str(found.get("message")) for found in scene.broker.rows()]
    scene.check(sum("a warning" in text for text in texts) == 1, "the warning did not come once")
    scene.check(
        any("took" in text and "second" in text for text in texts), "asyncio's slow callback did not come"
    )


@row(
    "T4", "finalizers log while the collector runs in our threads", lambda mode, variant: Expect(), seconds=8
)
def _t4(scene: Scene) -> None:
    count = 1_000
    program = scene.program(
        "finalizers", count, EVENTHUB_LOG_BATCH_SIZE="1", EVENTHUB_LOG_BATCH_TIMEOUT="0.01"
    )
    program.wait_for_text("all logged", scene.left_s)
    logged = scene.books.journal()
    scene.check(len(logged) >= 2 * count, f"asyncio logged {len(logged) - count} of {count} failures")
    end(scene, program)
