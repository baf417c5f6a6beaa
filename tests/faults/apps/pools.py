"""Programs with multiprocessing: ``pools METHOD CASE``."""

import multiprocessing
import os
import sys
import warnings
from concurrent.futures import ProcessPoolExecutor

import probe

RECORDS = 50


def set_up():
    """Set logging up in a child that inherits nothing."""
    if not probe.logging.getLogger().handlers:
        probe.set_up()


def log(name):
    """Log in a child; a child of a pool may do so more than once."""
    set_up()
    for number in range(RECORDS):
        probe.write(f"{name}-{os.getpid()}-{number}")
    return os.getpid()


def normal(context):
    """P3: all three, each to its normal end."""
    processes = [context.Process(target=log, args=(f"process{number}",)) for number in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    pool = context.Pool(2)
    pool.map(log, ["pool0", "pool1"], chunksize=1)
    pool.close()
    pool.join()
    with ProcessPoolExecutor(2, mp_context=context) as executor:
        list(executor.map(log, ["executor0", "executor1"]))


def terminated(context):
    """P4: the children of the pool are ended by SIGTERM."""
    with context.Pool(2) as pool:
        pool.map(log, ["pool0", "pool1"], chunksize=1)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    probe.set_up()
    log("parent")
    {"normal": normal, "terminated": terminated}[sys.argv[2]](multiprocessing.get_context(sys.argv[1]))
