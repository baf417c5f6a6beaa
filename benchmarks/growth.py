"""How the cost of a record grows: with call sites, threads, processes, the size of a record, its fields."""

import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from statistics import median
from typing import Final, NamedTuple

from benchmarks.turns import Child, Figures, Turn, interleave

PROCESSES: Final = (1, 2, 4, 8)
THREADS: Final = (1, 2, 4, 8, 16)
CALL_SITES: Final = ((1, 1), (64, 10_000))
CHARACTERS: Final = (0, 4_096, 16_384, 64_000)
FIELDS: Final = (0, 10, 25, 50)
_RECORDS: Final = 8_000


class Growth(NamedTuple):
    """CPU microseconds per record, by what grows."""

    call_sites: dict[str, float]
    threads: dict[str, float]
    processes: dict[str, float]
    characters: dict[str, float]
    fields: dict[str, float]

    def figures(self) -> Figures:
        """Return the last of each over the first; of size and fields what one more of them costs."""
        return {
            "templates_x": _last_over_first(self.call_sites),
            "threads_x": _last_over_first(self.threads),
            "processes_x": _last_over_first(self.processes),
            "record_size_x": _per_unit(self.characters),
            "extras_x": _per_unit(self.fields),
        }


def measure(*, rounds: int) -> Growth:
    """Return the medians of so many rounds."""
    turns: dict[tuple[str, str], Turn] = {
        **{
            ("call_sites", f"{loggers} x {templates}"): {
                "measure": "templates",
                "loggers": loggers,
                "templates": templates,
                "records": _RECORDS,
            }
            for loggers, templates in CALL_SITES
        },
        **{
            ("threads", str(number)): {"measure": "threads", "number": number, "records": _RECORDS}
            for number in THREADS
        },
        **{
            ("characters", str(number)): {
                "measure": "sizes",
                "characters": number,
                "fields": 0,
                "records": 200 if number > 5_000 else 2_000,
            }
            for number in CHARACTERS
        },
        **{
            ("fields", str(number)): {
                "measure": "sizes",
                "characters": 20,
                "fields": number,
                "records": 4_000,
            }
            for number in FIELDS
        },
    }
    start = {"hub": partial(Child, "benchmarks.log_calls", "gzip", "overflow")}
    samples = interleave(start, turns, rounds=1, turns_a_round=rounds + 1)
    grown: dict[str, dict[str, float]] = {"processes": _processes(rounds)}
    for (name, step), answers in samples.items():
        values = [figures["cpu_us"] for figures in answers["hub"][1:]]  # the first time is a warm-up
        grown.setdefault(name, {})[step] = median(values)
    return Growth(**grown)


def _processes(rounds: int) -> dict[str, float]:
    """Return the CPU per record of processes that log at the same time to one file and the Event Hub."""
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(max(PROCESSES)) as pool:
        children = [Child("benchmarks.destinations", folder) for _ in range(max(PROCESSES))]
        try:
            measured: dict[str, list[float]] = {str(number): [] for number in PROCESSES}
            for turn in range(rounds + 1):
                for number in PROCESSES:
                    asked = {"measure": "both", "records": _RECORDS // 4}
                    answers = list(pool.map(partial(Child.ask, turn=asked), children[:number]))
                    if turn:
                        measured[str(number)].append(sum(answer["cpu_us"] for answer in answers) / number)
        finally:
            for child in children:
                child.close()
    return {number: median(values) for number, values in measured.items()}


def _last_over_first(steps: dict[str, float]) -> float:
    values = list(steps.values())
    return values[-1] / values[0]


def _per_unit(steps: dict[str, float]) -> float:
    """Return what a unit costs in the last step over what it costs in the second; the first has none."""
    (_, none), (few, second), *_, (many, last) = steps.items()
    return ((last - none) / int(many)) / ((second - none) / int(few))
