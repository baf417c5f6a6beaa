"""The version matrix: each supported Python with each supported Django and Flask.

``python noxfile.py`` runs all cells and ends with a table of them. What follows goes to nox, as in
``python noxfile.py --session 'django(3.13-6.1)'``; ``nox`` by itself works too, without the table.

What is tested comes from ``requirements.lock``, but for the framework, of which each cell takes the newest
release of its series. A Python that the machine lacks is no failure: the table says which cells were not run.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import nox

ROOT: Final = Path(__file__).resolve().parent
REPORT: Final = ROOT / ".venv" / "nox" / "report.json"
_PROJECT: Final = nox.project.load_toml(ROOT / "pyproject.toml")

PYTHONS: Final = nox.project.python_versions(_PROJECT)
#: The supported series of each framework, by the name under which it is installed.
SERIES: Final = {
    "django": re.findall(r"Framework :: Django :: ([\d.]+)", "\n".join(_PROJECT["project"]["classifiers"])),
    "flask": ["3.0", "3.1"],
}
#: The oldest Python of a series that does not take all of them. Source: each one's ``Requires-Python``.
_OLDEST_PYTHON: Final = {("django", "6.0"): "3.12", ("django", "6.1"): "3.12"}

#: What no test of a cell runs: it checks the code, or serves other tests.
_LEFT_OUT: Final = re.compile(r"(django-stubs|import-linter|mypy|nox|py-spy|pyuwsgi|ruff|types-)")
_TESTS: Final = [each for each in nox.project.dependency_groups(_PROJECT, "dev") if not _LEFT_OUT.match(each)]
_EXTRAS: Final = ",".join(_PROJECT["project"]["optional-dependencies"])
#: Without isolation, since pip would take the newest of these there, whatever the lock says.
_BUILD: Final = ("hatchling", "editables")
#: What is set on this machine for other programs must not change a test.
_NOT_INHERITED: Final = ("LOG_", "FILE_LOG", "EVENTHUB_", "OTEL_", "FLASK_", "DJANGO_", "SHOP_", "CELERY_")

nox.options.default_venv_backend = "virtualenv"
nox.options.envdir = str(REPORT.parent)
nox.options.reuse_venv = "yes"
nox.options.error_on_missing_interpreters = False
nox.options.download_python = "never"


def pythons_of(framework: str, series: str) -> list[str]:
    """Return the supported Pythons for which a series can be installed."""
    return PYTHONS[PYTHONS.index(_OLDEST_PYTHON.get((framework, series), PYTHONS[0])) :]


def _cells(framework: str) -> list[tuple[str, str]]:
    return [(python, series) for series in SERIES[framework] for python in pythons_of(framework, series)]


@nox.session
@nox.parametrize("python,series", _cells("django"), ids=map("-".join, _cells("django")))
def django(session: nox.Session, series: str) -> None:
    """Test the Django adapter and the Django shop."""
    _install(session, "django", series)
    _test(session, "tests/django")
    # Else a check says, rightly, that there is no hub to send to.
    environ = {**_environ(), "EVENTHUB_LOGGING_ENABLED": "false"}
    with session.chdir("example_django"):
        for command in (["check", "--fail-level", "WARNING"], ["makemigrations", "--check", "--dry-run"]):
            session.run("python", "-W", "error", "manage.py", *command, env=environ)
        _test(session)


@nox.session
@nox.parametrize("python,series", _cells("flask"), ids=map("-".join, _cells("flask")))
def flask(session: nox.Session, series: str) -> None:
    """Test the Flask extension and the Flask shop."""
    _install(session, "flask", series)
    _test(session, *(str(path.relative_to(ROOT)) for path in sorted((ROOT / "tests").glob("*flask*"))))
    with session.chdir("example_flask"):
        _test(session)


def _install(session: nox.Session, framework: str, series: str) -> None:
    """Install the package with a series of its framework, all else as pinned."""
    constraints = Path(session.create_tmp(), "constraints.txt")
    constraints.write_text(pins((ROOT / "requirements.lock").read_text(), without=framework))
    pinned = ("--quiet", "--constraint", str(constraints))
    session.install(*pinned, *_BUILD)
    wanted = (f"{framework}=={series}.*", *_TESTS)
    # Together, since the extra `local` asks for the other distribution of this very checkout.
    ours = ("--editable", f".[{_EXTRAS}]", "--editable", "packages/hublog-local")
    session.install(*pinned, "--no-build-isolation", *ours, *wanted)


def pins(lock: str, *, without: str) -> str:
    """Return the pins of a lock as constraints: no hashes, no extras, and not those of one package."""
    found = re.findall(r"(?m)^([\w.-]+)(?:\[[^]]*])?(==[^\\\n]+)", lock)
    return "".join(f"{name}{pin.rstrip()}\n" for name, pin in found if name != without)


def _test(session: nox.Session, *paths: str) -> None:
    command = ("python", "-m", "pytest", "--quiet", "-p", "no:cacheprovider", *paths)
    if session.run(*command, env=_environ()) is None:
        session.skip("--install-only runs no test")


def _environ() -> dict[str, str | None]:
    return {name: None for name in os.environ if name.startswith(_NOT_INHERITED)}


def main(arguments: Sequence[str]) -> int:
    """Run nox, then print the table; returns the exit status of nox."""
    from tools.environment import find  # noqa: PLC0415  # nox alone does not look for modules beside this file

    found = filter(None, (find((3, int(python.partition(".")[2]))) for python in PYTHONS))
    folders = [os.environ["PATH"], *(str(Path(python).parent) for python in found if os.sep in python)]
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.unlink(missing_ok=True)
    status = subprocess.run(  # noqa: S603  # a command of our own
        [sys.executable, "-m", "nox", "--noxfile", __file__, "--report", str(REPORT), *arguments],
        env={**os.environ, "PATH": os.pathsep.join(folders)},
        check=False,
    ).returncode
    if REPORT.exists():
        print("\n".join(table(json.loads(REPORT.read_text())["sessions"])))  # noqa: T201  # its output
    return status


def table(sessions: Iterable[Mapping[str, str]]) -> list[str]:
    """Return the matrix as lines of text, with the reason of each cell that was not run.

    Args:
        sessions: as they stand in a report of nox.
    """
    found = {name: session for session in sessions for name in session["signatures"]}
    lines = ["", " " * 12 + "".join(f"Python {python:8}" for python in PYTHONS).rstrip()]
    for framework, several in SERIES.items():
        for series in several:
            possible = pythons_of(framework, series)
            cells = [
                _verdict(found.get(f"{framework}({python}-{series})"))
                if python in possible
                else f"needs {possible[0]}"
                for python in PYTHONS
            ]
            row = f"{framework.title()} {series}"
            lines.append(f"{row:12}" + "".join(f"{cell:15}" for cell in cells).rstrip())
    reasons = {name: session["reason"] for name, session in found.items() if session["result"] == "skipped"}
    return [*lines, *(f"{name} was not run: {reason}" for name, reason in reasons.items())]


def _verdict(session: Mapping[str, str] | None) -> str:
    if session is None:
        return "-"  # it was not asked for
    return {"success": "passed", "skipped": "not run"}.get(session["result"], "FAILED")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
