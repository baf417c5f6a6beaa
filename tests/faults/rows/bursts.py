"""Bursts from many threads."""

from typing import Final

from tests.faults.expect import Expect, Mode
from tests.faults.matrix import row
from tests.faults.rows.broker_faults import until_logged
from tests.faults.scene import Scene

_THREADS: Final = 200
_RECORDS: Final = 200


def _t8_expects(mode: Mode, variant: str) -> Expect | None:
    return None if mode is Mode.MEMORY else Expect(memory_kib=None, call_us=1e7)


@row("T8", "a burst from 200 threads", _t8_expects, seconds=20)
def _t8(scene: Scene) -> None:
    program = scene.program("burst", _THREADS, _RECORDS)
    until_logged(scene, _THREADS * _RECORDS)
    program.tell()
    scene.end(program, is_timed=False)
