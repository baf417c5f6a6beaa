"""Set-ups of Django projects, and what our system checks find in them."""

import re
import subprocess
import sys
from pathlib import Path

from django.core.checks import run_checks
from django.test import override_settings

ROOT = Path(__file__).parent.parent.parent
KEY = "c2VjcmV0LWtleS1vZi10aGUtaHVi"
REAL = f"Endpoint=sb://shop.servicebus.windows.net/;SharedAccessKeyName=send;SharedAccessKey={KEY}"
EMULATOR = f"Endpoint=sb://127.0.0.1;SharedAccessKeyName=n;SharedAccessKey={KEY};UseDevelopmentEmulator=true"
OURS = "hublog.django.middleware.RequestContextMiddleware"
CONSOLE = {"class": "logging.StreamHandler"}
HUB = {"class": "hublog.EventHubHandler"}


def found(**changed):
    """The messages of ours, as Django would show them."""
    with override_settings(**changed):
        ours = [message for message in run_checks() if message.id.startswith("hublog.")]
    return sorted(ours, key=lambda message: (message.id, message.msg))


def ids(**changed):
    return sorted(message.id.removeprefix("hublog.") for message in found(**changed))


def dict_config(handlers=None, loggers=None, root=None, **more):
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": handlers or {},
        "loggers": loggers or {},
        "root": root or {"level": "INFO"},
        **more,
    }


GOOD = {
    "EVENTHUB_LOGGING_ENABLED": True,
    "EVENTHUB_NAMESPACE_CONNECTION_STRING": EMULATOR,
    "LOGGING": dict_config(
        {"hub": HUB, "console": CONSOLE}, root={"handlers": ["hub", "console"], "level": "INFO"}
    ),
}


def project(tmp_path, source, **environ):
    folder = tmp_path / "project"
    (folder / "conf").mkdir(parents=True)
    (folder / "conf" / "__init__.py").write_text("")
    base = (
        'SECRET_KEY = "x"\nINSTALLED_APPS = ["hublog.django"]\n'
        f"MIDDLEWARE = [{OURS!r}]\nLOG_DIR = {str(tmp_path / 'logs')!r}\n"
    )
    (folder / "conf" / "base.py").write_text(base)
    (folder / "conf" / "live.py").write_text("from conf.base import *\n" + source)
    done = subprocess.run(
        [sys.executable, "-m", "django", "check", "--tag", "hublog"],
        cwd=folder,
        env={"DJANGO_SETTINGS_MODULE": "conf.live", "PYTHONPATH": str(folder), "PATH": "/usr/bin", **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert KEY not in done.stdout + done.stderr
    assert done.returncode == 0, done.stderr
    return re.findall(r"\(hublog\.([A-Z]\d+)\)", done.stderr)
