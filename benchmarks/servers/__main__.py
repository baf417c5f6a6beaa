"""``python -m benchmarks.servers``: a worker's CPU per request, bare and with each set of destinations."""

import argparse
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Final

from benchmarks.servers.examples import BARE, EXAMPLES, Example, local_hub, make_database, started
from benchmarks.turns import Samples, ratio

VARIANTS: Final = {
    "flask": (BARE, "off", "hub", "file_console", "all"),
    "django": (BARE, "off", "hub", "file_console", "all"),
    "uvicorn": (BARE, "file_console", "all"),
}
#: As a browser sends them; ``wrk`` adds the host.
_HEADERS: Final = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:131.0) Gecko/20100101 Firefox/131.0",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language": "de-DE,de;q=0.9,en;q=0.8",
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "Referer": "http://127.0.0.1/orders?page=3",
    "Sec-Fetch-Mode": "navigate",
}
#: Until what is queued after the last turn has been sent.
_QUIET_S: Final = 2.0
_WARM_UP_S: Final = 1


def wrk(url: str, seconds: int) -> int:
    """Ask as often as possible over eight connections; return the number of answers.

    Raises:
        FileNotFoundError: ``wrk`` is not installed.
        AssertionError: a request failed.
    """
    headers = [part for name, value in _HEADERS.items() for part in ("-H", f"{name}: {value}")]
    command = ["wrk", "-t1", "-c8", f"-d{seconds}s", *headers, url]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "Non-2xx" not in printed, printed
    assert "Socket errors" not in printed, printed
    answers = re.search(r"(\d+) requests in", printed)
    assert answers is not None, printed
    return int(answers[1])


def measure(
    name: str, *, variants: Sequence[str], rounds: int, turns: int, seconds: int
) -> dict[str, Samples]:
    """Return the CPU microseconds per request of each variant, one for each turn.

    Args:
        name: of ``EXAMPLES``.
        variants: what is compared.
        rounds: number of times that the servers are started.
        turns: of each server in a round.
        seconds: of load in a turn.
    """
    samples: dict[str, Samples] = {variant: [] for variant in variants}
    for _ in range(rounds):
        for variant, measured in _round(EXAMPLES[name], variants, turns=turns, seconds=seconds).items():
            samples[variant] += measured
    return samples


def _round(example: Example, variants: Sequence[str], *, turns: int, seconds: int) -> dict[str, Samples]:
    """Start the servers and let them have their turns.

    What a turn leaves in the queue is sent while the next server has its turn, so the CPU of a turn is all
    that the worker uses until its own next turn.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        database = make_database(example, folder)
        connection = stack.enter_context(local_hub(folder))
        servers = {
            variant: stack.enter_context(
                started(example, variant, folder / variant, database=database, connection=connection)
            )
            for variant in variants
        }
        for server in servers.values():
            server.wait()
        with ThreadPoolExecutor(len(servers)) as pool:  # imports, caches, connections
            list(pool.map(lambda server: wrk(server.url, _WARM_UP_S), servers.values()))
        time.sleep(_QUIET_S)
        used: dict[str, list[float]] = {variant: [] for variant in servers}
        answered: dict[str, list[int]] = {variant: [] for variant in servers}
        for _ in range(turns):
            for variant, server in servers.items():
                used[variant].append(server.cpu_s())
                answered[variant].append(wrk(server.url, seconds))
        time.sleep(_QUIET_S)
        return {
            variant: cpu_us([*used[variant], server.cpu_s()], answered[variant])
            for variant, server in servers.items()
        }


def cpu_us(used_s: Sequence[float], answered: Sequence[int]) -> Samples:
    """Return microseconds per request of each turn, from the CPU seconds at its begin and after the last."""
    return [
        (after - before) / number * 1e6
        for (before, after), number in zip(pairwise(used_s), answered, strict=True)
    ]


def percents(samples: dict[str, Samples]) -> dict[str, float]:
    """Return what all three add to the bare application, and the Event Hub to the two others, in percent."""
    return {
        "all_percent": (ratio(samples["all"], samples[BARE]) - 1) * 100,
        "hub_percent": (ratio(samples["all"], samples["file_console"]) - 1) * 100,
    }


def main(arguments: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.servers", description=__doc__)
    parser.add_argument("examples", nargs="*", default=list(EXAMPLES), help=f"of {', '.join(EXAMPLES)}")
    parser.add_argument("--rounds", type=int, default=2, help="starts of the servers (default: 2)")
    parser.add_argument("--turns", type=int, default=4, help="of each server (default: 4)")
    parser.add_argument("--seconds", type=int, default=1, help="of load in a turn (default: 1)")
    options = parser.parse_args(arguments)
    for name in options.examples:
        variants = VARIANTS[name]
        samples = measure(
            name,
            variants=variants,
            rounds=options.rounds,
            turns=options.turns,
            seconds=options.seconds,
        )
        show(name, samples)
    return 0


def show(name: str, samples: dict[str, Samples]) -> None:
    """Print a table."""
    print(f"\n{name}: CPU of the worker for GET {EXAMPLES[name].path}")
    for variant, values in samples.items():
        over = (ratio(values, samples[BARE]) - 1) * 100
        print(f"{variant:14}{sum(values) / len(values):9.0f} us{over:+8.1f} %")
    print(", ".join(f"{name} {value:+.1f}" for name, value in percents(samples).items()), flush=True)


if __name__ == "__main__":
    sys.exit(main())
