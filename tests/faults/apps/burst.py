"""A burst from many threads: ``burst THREADS RECORDS``, each that many as fast as it can, all at once."""

import sys
import threading

import probe

probe.set_up()
count, records = int(sys.argv[1]), int(sys.argv[2])
barrier = threading.Barrier(count)


def work(number):
    """Log all at once with the others."""
    barrier.wait()
    for index in range(records):
        probe.write(f"burst-{number}-{index}")


threading.stack_size(256 << 10)
threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print("all logged", flush=True)
sys.stdin.readline()
import hublog  # noqa: E402  # which of the two is imported first is the driver's choice

hublog.flush(60)
