"""The two distributions: what each wheel holds, and the command line with and without the local hub."""

import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path
from zipfile import ZipFile

import pytest

from hublog import __version__

ROOT = Path(__file__).parent.parent
LOCAL = ROOT / "packages" / "hublog-local"
LIMIT_S = 60


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    """The wheels of this checkout by the name of the distribution."""
    folder = tmp_path_factory.mktemp("wheels")
    for source in (ROOT, LOCAL):
        subprocess.run(
            [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)],
            cwd=source,
            check=True,
            capture_output=True,
            timeout=LIMIT_S,
        )
    return {path.name.partition("-")[0]: path for path in folder.iterdir()}


@pytest.fixture(scope="module")
def production(wheels, tmp_path_factory):
    """A folder like the site-packages of a production environment: `hublog` and what it depends on."""
    folder = tmp_path_factory.mktemp("production")
    for installed in Path(sysconfig.get_path("purelib")).iterdir():
        if "hublog" not in installed.name and installed.suffix != ".pth":
            (folder / installed.name).symlink_to(installed)
    with ZipFile(wheels["hublog"]) as wheel:
        wheel.extractall(folder)
    return folder


@pytest.fixture
def hublog(production, tmp_path):
    """Run a command with the packages of the production environment and of more folders."""

    def run_command(*arguments, more=()):
        path = ":".join(map(str, (*more, production)))
        return subprocess.run(
            [sys.executable, "-S", "-m", "hublog", *arguments],
            cwd=tmp_path,
            env={"PYTHONPATH": path, "EVENTHUB_LOGGING_ENABLED": "false", "FILE_LOGGING_ENABLED": "false"},
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )

    return run_command


def distribution(folder, name, entry_points):
    """Write what is installed of a distribution that adds commands."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.4\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[hublog.commands]\n{entry_points}\n")
    return folder


def packages(wheel):
    return {name.partition("/")[0] for name in ZipFile(wheel).namelist() if ".dist-info/" not in name}


def test_each_wheel_holds_its_own_package_only(wheels):
    assert packages(wheels["hublog"]) == {"hublog"}
    assert packages(wheels["hublog_local"]) == {"hublog_local"}


def test_both_wheels_are_typed_and_of_one_version(wheels):
    for name, wheel in wheels.items():
        assert wheel.name == f"{name}-{__version__}-py3-none-any.whl"
        assert f"{name}/py.typed" in ZipFile(wheel).namelist()


def test_the_two_distributions_ask_for_each_other_in_this_very_version():
    ours = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    theirs = tomllib.loads((LOCAL / "pyproject.toml").read_text())["project"]
    assert ours["optional-dependencies"]["local"] == [f"hublog-local=={__version__}"]
    assert f"hublog=={__version__}" in theirs["dependencies"]
    assert theirs["requires-python"] == ours["requires-python"]


def test_both_distributions_have_the_same_licence():
    assert (LOCAL / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()


def test_the_package_loads_from_its_wheel_alone(hublog):
    found = hublog("doctor")
    assert (found.returncode, found.stderr) == (0, "")


@pytest.mark.parametrize(
    "arguments", [["local", "--port", "0"], ["local", "--help"], ["tail"], ["query", "PipelineLogs | count"]]
)
def test_without_the_local_hub_its_commands_say_what_to_install(hublog, arguments):
    found = hublog(*arguments)
    assert found.returncode == 1
    assert found.stderr == "hublog: This needs hublog-local: pip install 'hublog[local]'.\n"


def test_with_the_wheel_of_the_local_hub_its_commands_are_there(hublog, wheels, tmp_path):
    with ZipFile(wheels["hublog_local"]) as wheel:
        wheel.extractall(tmp_path / "local")
    found = hublog("query", "PipelineLogs | count", more=[tmp_path / "local"])
    assert found.returncode == 1
    assert "start hublog local" in found.stderr
    assert "--ready-file" in hublog("local", "--help", more=[tmp_path / "local"]).stdout


def test_another_distribution_adds_a_command(hublog, tmp_path):
    folder = distribution(tmp_path / "more", "greeting", "greet = greeting:GREET\ndoctor = greeting:GREET")
    (folder / "greeting.py").write_text(
        "from hublog.cli import Command\n"
        "GREET = Command('any', 'Greet.', lambda parser: parser.add_argument('name'),"
        " lambda options, caller: caller.out.write(f'hello {options.name}') and 0)\n"
    )
    found = hublog("greet", "Ada", more=[folder])
    assert (found.returncode, found.stdout, found.stderr) == (0, "hello Ada", "")
    assert "versions" in hublog("doctor", more=[folder]).stdout, "it replaces none of ours"


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("raise RuntimeError('100% broken:\\n at once')", "RuntimeError: 100% broken: at once"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("BROKEN = 'text'", "it is not a hublog.cli.Command"),
        (
            "from hublog.cli import Command\nBROKEN = Command('b', '', lambda parser: 1 / 0, print)",
            "ZeroDivisionError: division by zero",
        ),
    ],
)
def test_a_command_that_cannot_be_loaded_says_why_and_leaves_the_others_alone(
    hublog, tmp_path, source, reason
):
    folder = distribution(tmp_path / "more", "broken", "broken = broken:BROKEN")
    (folder / "broken.py").write_text(source)
    doctor = hublog("doctor", more=[folder])
    assert (doctor.returncode, doctor.stderr) == (0, "")
    assert "broken" in hublog("--help", more=[folder]).stdout
    found = hublog("broken", "--any", "thing", more=[folder])
    assert found.returncode == 1
    assert found.stderr == (
        f"hublog: The command broken of the package broken cannot be loaded from broken:BROKEN: {reason}\n"
    )


def test_each_public_name_of_the_local_hub_is_there_and_no_other():
    import hublog_local

    assert all(hasattr(hublog_local, name) for name in hublog_local.__all__)
    assert not hasattr(hublog_local, "Hub")
