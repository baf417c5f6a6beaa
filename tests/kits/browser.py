"""A real Chromium, driven over its own protocol."""

import base64
import contextlib
import json
import re
import shutil
import subprocess
import tempfile
import time

from websocket import create_connection

LIMIT_S = 30


class Browser:
    """One page of a headless Chromium."""

    def __init__(self, address):
        self._socket = create_connection(address, timeout=LIMIT_S, suppress_origin=True)
        self._number = 0
        self.complaints = []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")

    def ask(self, method, **params):
        """Send a command; returns its result."""
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": params}))
        while True:
            message = json.loads(self._socket.recv())
            if message.get("id") == self._number:
                assert "error" not in message, message
                return message["result"]
            self._note(message)

    def _note(self, message):
        if message.get("method") in ("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled"):
            self.complaints.append(message["params"])

    def open(self, url, *, width, is_dark=False, headers=None):
        """Open a page as wide as a window of so many pixels, and wait until it is there."""
        self.complaints.clear()
        size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
        self.ask("Emulation.setDeviceMetricsOverride", **size)
        self.ask("Emulation.setScrollbarsHidden", hidden=True)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}
        self.ask("Emulation.setEmulatedMedia", features=[scheme])
        self.ask("Network.setExtraHTTPHeaders", headers=headers or {})
        self.ask("Page.navigate", url=url)
        end = time.monotonic() + LIMIT_S
        while self.value("document.readyState + location.href") != f"complete{url}":
            assert time.monotonic() < end, "the page does not load"

    def close(self):
        """Let go of it."""
        self._socket.close()

    def value(self, script):
        """Return the value of an expression in the page."""
        return self.ask("Runtime.evaluate", expression=script, returnByValue=True)["result"].get("value")

    def picture(self):
        """Return the whole page as PNG."""
        found = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        return base64.b64decode(found["data"])


@contextlib.contextmanager
def chromium():
    """Start a Chromium; yields a page of it."""
    program = shutil.which("chromium")
    assert program, "chromium is missing: apt-get install chromium"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = (
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
        )
        running = subprocess.Popen(
            [program, *options, "--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank"],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        try:
            browser = Browser(_address(running))
            try:
                yield browser
            finally:
                browser.close()
        finally:
            running.terminate()
            running.communicate(timeout=LIMIT_S)


def _address(running):
    for line in running.stderr:
        found = re.search(r"DevTools listening on ws://([\d.:]+)/", line)
        if found:
            socket = create_connection(line.split()[-1], timeout=LIMIT_S, suppress_origin=True)
            socket.send(json.dumps({"id": 1, "method": "Target.getTargets"}))
            while "result" not in (message := json.loads(socket.recv())):
                pass
            socket.close()
            [page] = [each for each in message["result"]["targetInfos"] if each["type"] == "page"]
            return f"ws://{found[1]}/devtools/page/{page['targetId']}"
    raise AssertionError("chromium does not start")
