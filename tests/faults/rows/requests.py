"""Requests of clients that mean harm."""

import json
from typing import Final

from tests.faults.expect import Expect
from tests.faults.matrix import modules, row, same
from tests.faults.scene import Scene

#: Bytes of header lines of four characters. httptools has no limit; h11 takes 64 KiB.
_SIZES: Final = {"httptools": 2_000_000, "h11": 60_000}
#: Reading headers with us may cost so many times what it costs without us. What grows with the square of
#: their number costs ten times as much and more; what is linear, a few percent.
_TIMES_MAX: Final = 2.0


@row(
    "T13",
    "a request of many header lines to an ASGI server",
    same(Expect(memory_kib=None)),  # the server's own: 400,000 pairs
    variants=tuple(_SIZES),
    seconds=20,
    needs={name: modules("uvicorn", name) for name in _SIZES},
    has_control=False,
)
def _t13(scene: Scene) -> None:
    size = _SIZES[scene.variant]
    program = scene.run("headers", scene.variant, size)
    found = json.loads(next(line for line in program.text().splitlines() if line.startswith("{")))
    scene.check(found["fields"] == [size // 5 + 3], f"not all header lines reached the application: {found}")
    scene.check(found["with"] <= _TIMES_MAX * found["without"], f"seconds of processor time: {found}")
