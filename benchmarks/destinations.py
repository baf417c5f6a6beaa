"""Console and file against the handlers of ``logging``, and what each destination adds, in a warm loop."""

import contextlib
import logging
import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any, Final

import hublog
from benchmarks.log_calls import REQUEST, block
from benchmarks.turns import Figures, serve_turns
from benchmarks.wire import CONNECTION, Wire
from hublog.capture import context

BLOCK: Final = 500


class Destinations:
    """One logger, and handlers to put on it: hublog's as it configures them, and the standard library's.

    Args:
        folder: of the log files and the spool.
    """

    def __init__(self, folder: Path) -> None:
        Wire().install()
        os.environ["EVENTHUB_NAMESPACE_CONNECTION_STRING"] = CONNECTION
        root = hublog.setup_logging(log_dir=folder, log_to_stdout=True)
        ours = list(root.handlers)
        root.handlers[:] = []
        self._hub = next(handler for handler in ours if isinstance(handler, hublog.EventHubHandler))
        self._console = next(handler for handler in ours if isinstance(handler, hublog.ConsoleHandler))
        self._file = next(handler for handler in ours if handler not in (self._hub, self._console))
        plain_file = logging.FileHandler(folder / "plain.log")
        plain_file.setFormatter(hublog.JsonFormatter())
        plain_console = logging.StreamHandler(sys.stdout)
        plain_console.setFormatter(
            logging.Formatter(
                "%(asctime)s %(levelname)-8s %(name)s [%(request_id)s] %(message)s",
                defaults={"request_id": REQUEST["request_id"]},
            )
        )
        self._ways: dict[str, list[logging.Handler]] = {
            "null": [logging.NullHandler()],
            "file_handler": [plain_file],
            "file": [self._file],
            "stream_handler": [plain_console],
            "console": [self._console],
            "hub": [self._hub],
            "hub_file": [self._hub, self._file],
            "all": [self._hub, self._file, self._console],
        }
        self._logger = logging.getLogger("shop.shipping")
        self._logger.setLevel(logging.INFO)
        self._logger.propagate = False
        context.enter(REQUEST)

    def compare(self, blocks: int) -> Figures:
        """Return the CPU of the process per record, microseconds, for each way; blocks take turns."""
        cpu_us: dict[str, list[float]] = {name: [] for name in self._ways}
        for number in range(blocks + 1):
            for name, measured in cpu_us.items():
                used = self._measure(self._ways[name], BLOCK)
                if number:  # the first time is a warm-up
                    measured.append(used)
        return {name: median(measured) for name, measured in cpu_us.items()}

    def both(self, records: int) -> Figures:
        """Return the CPU per record with Event Hub and file, which processes share."""
        return {"cpu_us": self._measure(self._ways["hub_file"], records)}

    def _measure(self, handlers: list[logging.Handler], records: int) -> float:
        self._logger.handlers[:] = handlers
        cpu = time.process_time()
        block(self._logger, records)
        assert hublog.flush(30)
        return (time.process_time() - cpu) / records * 1e6


def main(folder: str = "") -> None:
    """Measure what standard input asks for; in a folder of its own if none is given."""
    given = contextlib.nullcontext(folder)
    with given if folder else tempfile.TemporaryDirectory() as used:
        destinations = Destinations(Path(used))

        def measure(turn: dict[str, Any]) -> Figures:
            figures: Figures = getattr(destinations, turn.pop("measure"))(**turn)
            return figures

        serve_turns(measure)


if __name__ == "__main__":
    main(*sys.argv[1:])
