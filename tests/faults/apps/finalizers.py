"""Failing tasks that nobody awaits: ``finalizers COUNT``; asyncio logs each when it is collected.

The garbage collector runs in whichever thread allocates, our own ones among them.
"""

import asyncio
import gc
import logging
import sys
import threading

import probe

probe.set_up()
count = int(sys.argv[1])
logged = set()


class Named(logging.Filter):
    """Gives the records of asyncio an id of ours, by which the ledger knows them."""

    def filter(self, record):
        """Let it through as one of ours; its exception holds the id."""
        if not record.exc_info:
            return False
        id_ = str(record.exc_info[1])
        logged.add(id_)
        record.name, record.fault_id = probe.log.name, id_
        probe.note(id_)
        return True


async def fail(id_):
    """Fail, in a cycle of task and exception that only the collector can free."""
    error = ValueError(id_)
    error.task = asyncio.current_task()
    raise error


async def main():
    """Make tasks that nobody looks at, and records for our own threads to work on."""
    for number in range(count):
        asyncio.ensure_future(fail(f"task-{number}"))  # noqa: RUF006  # that it is lost is the subject
        probe.write(f"plain-{number}")
        await asyncio.sleep(0.002)  # our threads work meanwhile, and the collector runs there


logging.getLogger("asyncio").addFilter(Named())
gc.set_threshold(2)
asyncio.run(main())
for _ in range(1_000):
    gc.collect()  # nothing is collected while another thread is collecting
    if len(logged) == count:
        break
    threading.Event().wait(0.01)
print("all logged", flush=True)
sys.stdin.readline()
