"""Makes the virtual environments of this checkout from the pinned lock, and re-uses them.

`.venv/oldest` and `.venv/newest` point at the oldest and the newest supported Python that this machine
has. Runs with any Python 3, since all it does is look for better ones.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
#: The distributions of this checkout; each is installed editable, its dependencies from the lock.
DISTRIBUTIONS = [ROOT, ROOT / "packages" / "hublog-local"]
SUPPORTED = [(3, minor) for minor in range(11, 14)]
PROBE = "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2])"


def candidates(version: tuple[int, int]) -> list[str]:
    """Return commands and paths where this version may be found, the plainest first."""
    name = "python{}.{}".format(*version)
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    found = sorted(pyenv.glob("{}.{}.*/bin/python".format(*version)), reverse=True)
    return [sys.executable, name, *map(str, found)]


def find(version: tuple[int, int]) -> str | None:
    """Return an interpreter of this version that can make environments, or None."""
    for candidate in candidates(version):
        try:
            answer = subprocess.run([candidate, "-c", PROBE], capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            continue
        if answer.stdout.strip() == "{}.{}".format(*version):
            return candidate
    return None


def make(version: tuple[int, int], python: str) -> Path:
    """Make or bring up to date the environment of one version; returns its folder."""
    folder = ROOT / ".venv" / "{}.{}".format(*version)
    stamp = folder / "made-from"
    wanted = hashlib.sha256(
        b"".join(
            path.read_bytes()
            for path in (ROOT / "requirements.lock", *(each / "pyproject.toml" for each in DISTRIBUTIONS))
        )
        + str(ROOT).encode()
    ).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return folder
    print(f"making {folder.relative_to(ROOT)} from requirements.lock ...", flush=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    for command in (
        [python, "-m", "venv", "--clear", str(folder)],
        [*pip, "--require-hashes", "--requirement", str(ROOT / "requirements.lock")],
        [*pip, "--no-deps", "--no-build-isolation"]
        + [part for each in DISTRIBUTIONS for part in ("--editable", str(each))],
    ):
        subprocess.run(command, check=True)
    stamp.write_text(wanted)
    return folder


def point(name: str, folder: Path) -> None:
    """Let `.venv/<name>` point at a folder beside it."""
    link = ROOT / ".venv" / name
    if link.is_symlink() or link.exists():
        link.unlink()
    link.symlink_to(folder.name)


def main() -> int:
    """Make the environments; exit status 1 where no supported Python is found."""
    found = [(version, python) for version in SUPPORTED if (python := find(version))]
    if not found:
        names = ", ".join("{}.{}".format(*version) for version in SUPPORTED)
        print(f"No Python of {names} with venv and pip was found; install one (Debian: python3-venv).")
        return 1
    oldest, newest = make(*found[0]), make(*found[-1])
    point("oldest", oldest)
    point("newest", newest)
    return 0


if __name__ == "__main__":
    sys.exit(main())
