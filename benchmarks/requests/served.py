"""One application with one way to log: measures the CPU of its process per request, turn by turn."""

import gc
import sys
import tempfile
import threading
import time
from itertools import islice
from pathlib import Path
from typing import Any, Final

from benchmarks.requests.applications import APPLICATIONS, Plan
from benchmarks.requests.loggers import make_logs
from benchmarks.requests.visits import environs
from benchmarks.turns import Figures, serve_turns

#: Requests before the clock of each turn runs: the caches of the processor are another process's.
_WARM_UP: Final = 30
_SEED: Final = 20_261_201


def main(framework: str, variant: str) -> None:
    """Measure what standard input asks for."""
    with tempfile.TemporaryDirectory() as folder:
        logs = make_logs(variant, Path(folder))
        serve = APPLICATIONS[framework](logs)
        visits = environs(_SEED)

        def measure(turn: dict[str, Any]) -> Figures:
            Plan.records, Plan.queries, Plan.parts = turn["records"], turn["queries"], turn["parts"]
            threads, requests = turn["threads"], turn["requests"]
            serve(list(islice(visits, _WARM_UP)))
            logs.flush()
            parts = [list(islice(visits, requests // threads)) for _ in range(threads)]
            gc.collect()
            cpu = time.process_time()
            if threads == 1:
                serve(parts[0])
            else:
                running = [threading.Thread(target=serve, args=(part,)) for part in parts]
                for thread in running:
                    thread.start()
                for thread in running:
                    thread.join()
            logs.flush()
            return {"cpu_us": (time.process_time() - cpu) * 1e6 / sum(map(len, parts))}

        serve_turns(measure)


if __name__ == "__main__":
    main(*sys.argv[1:])
