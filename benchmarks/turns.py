"""Child processes that measure in turn: each waits while another one measures, so noise meets all alike.

A child answers each line of JSON on its standard input with one on its standard output.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, suppress
from statistics import median
from typing import Any, Final, Self, TypeVar

Key = TypeVar("Key")
#: A turn as it is asked for, and its figures.
Turn = Mapping[str, Any]
Figures = dict[str, float]
#: A figure of a subject, a sample a turn, in the order of the turns.
Samples = list[float]
_STOP_S: Final = 30


class Child:
    """A process that measures when it is asked to.

    Args:
        module: run with ``python -m``; its ``main`` calls ``serve_turns``.
        arguments: of its command line.
        environ: added to the environment.
        python: the interpreter.
    """

    def __init__(
        self,
        module: str,
        *arguments: str,
        environ: Mapping[str, str] | None = None,
        python: str = sys.executable,
    ) -> None:
        self._name = " ".join((module, *arguments))
        self._process = subprocess.Popen(
            [python, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **(environ or {})},
        )

    def ask(self, turn: Turn) -> Figures:
        """Let the child measure, and return its figures; raises as ``answer`` does."""
        self.begin(turn)
        return self.answer()

    def begin(self, turn: Turn) -> None:
        """Let the child measure; ``answer`` waits for its figures."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # the missing answer says so
            self._process.stdin.write(json.dumps(turn) + "\n")
            self._process.stdin.flush()

    def answer(self) -> Figures:
        """Return the figures of what was begun.

        Raises:
            RuntimeError: it ended instead; its standard error says why.
        """
        assert self._process.stdout is not None
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{self._name} ended with status {self._process.wait()}.")
        figures: Figures = json.loads(answer)
        return figures

    def close(self) -> None:
        """Let the child end, and wait for that."""
        self._process.communicate(timeout=_STOP_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def serve_turns(measure: Callable[[dict[str, Any]], Figures]) -> None:
    """Answer turn after turn until the input ends; what else is printed goes to the null device."""
    answers = os.fdopen(os.dup(1), "w")
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    for line in sys.stdin:
        answers.write(json.dumps(measure(json.loads(line))) + "\n")
        answers.flush()


def interleave(
    start: Mapping[str, Callable[[], Child]], turns: Mapping[Key, Turn], *, rounds: int, turns_a_round: int
) -> dict[Key, dict[str, list[Figures]]]:
    """Return the figures of each subject in each kind of turn, one for each turn.

    Args:
        start: starts a subject's child; each round has new ones, since one process differs from the next
            by where its objects lie.
        turns: the kinds of turns.
        rounds: number of times that all children are started.
        turns_a_round: number of times that each child is asked for each kind.
    """
    samples: dict[Key, dict[str, list[Figures]]] = {key: {name: [] for name in start} for key in turns}
    for _ in range(rounds):
        with ExitStack() as stack:
            children = {name: stack.enter_context(make()) for name, make in start.items()}
            for _ in range(turns_a_round):
                for key, turn in turns.items():
                    for name, child in children.items():
                        samples[key][name].append(child.ask(turn))
    return samples


def series(samples: Mapping[str, Iterable[Figures]], figure: str) -> dict[str, Samples]:
    """Return one figure of each subject, turn by turn."""
    return {name: [turn[figure] for turn in turns] for name, turns in samples.items()}


def ratio(over: Samples, under: Samples) -> float:
    """Return the median of the ratios of the same turns."""
    return median(a / b for a, b in zip(over, under, strict=True))


def difference(more: Samples, less: Samples) -> float:
    """Return the median of the differences of the same turns."""
    return median(a - b for a, b in zip(more, less, strict=True))
