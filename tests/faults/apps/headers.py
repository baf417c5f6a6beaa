"""A program that serves requests with many header lines, with and without us: ``headers PARSER BYTES``.

It prints the processor time of the server's thread for one request, the least of several, in turn without
``request_context`` and with it. Processor time, since the machine may be busy; in turn, so that what the
machine does meanwhile hits both.
"""

import asyncio
import json
import socket
import sys
import threading
import time

import probe
import uvicorn

from hublog.asgi import request_context

_TURNS = 4
_LINE = b"a:b\r\n"
_HEAD = b"GET /work HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\nX-Request-ID: r%d\r\n"
_LIMIT_S = 60.0


async def app(scope, receive, send):
    """Log one record, and answer with the number of fields that came."""
    name = next(value for key, value in scope["headers"] if key == b"x-request-id").decode()
    probe.write(f"{name}.0")
    body = b"%d" % len(scope["headers"])
    head = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": body})


class Served:
    """An application on a port of its own, in a thread whose processor time can be read."""

    def __init__(self, wrapped, parser):
        self.server = uvicorn.Server(
            uvicorn.Config(wrapped, http=parser, lifespan="off", log_config=None, access_log=False)
        )
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.thread = threading.Thread(target=asyncio.run, args=(self.server.serve([self.listening]),))
        self.thread.start()
        self.clock = time.pthread_getcpuclockid(self.thread.ident)

    def seconds(self, number, size):
        """Return the processor time of one request with so many bytes of headers, and its answer."""
        start = time.clock_gettime(self.clock)
        with socket.create_connection(self.listening.getsockname(), timeout=_LIMIT_S) as client:
            client.sendall(_HEAD % number + _LINE * (size // len(_LINE)) + b"\r\n")
            answer = b"".join(iter(lambda: client.recv(65_536), b""))
        return time.clock_gettime(self.clock) - start, answer

    def close(self):
        """End the server."""
        self.server.should_exit = True
        self.thread.join()
        self.listening.close()


probe.set_up()
parser, size = sys.argv[1], int(sys.argv[2])
served = [Served(app, parser), Served(request_context(app), parser)]
least, answers = [float("inf")] * 2, set()
for number in range(2 * _TURNS):
    seconds, answer = served[number % 2].seconds(number, size)
    least[number % 2] = min(least[number % 2], seconds)
    answers.add(int(answer.rpartition(b"\r\n\r\n")[2]))
for one in served:
    one.close()
print(json.dumps({"without": least[0], "with": least[1], "fields": sorted(answers)}), flush=True)
