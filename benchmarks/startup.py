"""What a process needs to import hublog, and from its first record to the first byte on the wire."""

import socket
import subprocess
import sys
import time
from typing import Final

_IMPORT: Final = (
    "import time, logging; start = time.process_time(); import hublog; print(time.process_time() - start)"
)
_FIRST_RECORD: Final = """
import logging, os, sys, time
import hublog
logging.getLogger().addHandler(hublog.EventHubHandler(connection_string=sys.argv[1], spool="memory"))
logging.getLogger().setLevel(logging.INFO)
print(time.monotonic(), flush=True)
logging.info("first")
sys.stdin.read()
os._exit(0)
"""
_LIMIT_S: Final = 30


def import_ms() -> float:
    """Return the CPU milliseconds of ``import hublog`` in a process that has ``logging`` already."""
    answer = subprocess.run([sys.executable, "-c", _IMPORT], capture_output=True, text=True, check=True)
    return float(answer.stdout) * 1_000


def first_byte_s() -> float:
    """Return the seconds from the first record of a process to the first byte that a hub receives."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(_LIMIT_S)
        endpoint = f"sb://127.0.0.1:{server.getsockname()[1]}"
        connection = (
            f"Endpoint={endpoint};SharedAccessKeyName=n;SharedAccessKey=a2V5;UseDevelopmentEmulator=true"
        )
        with subprocess.Popen(
            [sys.executable, "-c", _FIRST_RECORD, connection],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process:
            assert process.stdout is not None
            logged_mono = float(process.stdout.readline())
            peer, _ = server.accept()
            with peer:
                peer.settimeout(_LIMIT_S)
                peer.recv(1)
                return time.monotonic() - logged_mono
