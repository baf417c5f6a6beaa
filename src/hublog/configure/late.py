"""Settings that become known after ``logging_config`` has read them, applied to the handlers made from it.

A Django settings module may set names below ``LOGGING = logging_config(globals())``. What differs by the time
Django is ready is put right on the handlers that stand on the root logger under our names; what the project
has changed in the dictionary itself stays as it is.
"""

import logging
from collections.abc import Mapping
from pkgutil import resolve_name
from typing import Any, Final, cast

from hublog.configure.dict_config import level_text, logging_config
from hublog.configure.handlers import CONSOLE, EVENT_HUB, FILE, NOTHING
from hublog.settings import Settings

_IN_ORDER: Final = (CONSOLE, FILE, EVENT_HUB, NOTHING)


def apply_late(made: Settings, settings: Settings, *, framework: str) -> None:
    """Bring the handlers of ``logging_config`` on the root logger up to date.

    Args:
        made: the settings from which they were made.
        settings: the effective ones.
        framework: ``django``, ``flask`` or empty.
    """
    former, wanted = (_config(each, framework) for each in (made, settings))
    root = logging.getLogger()
    for name in _IN_ORDER:
        there = next((handler for handler in root.handlers if handler.name == name), None)
        was, now = _spec(former, name), _spec(wanted, name)
        if was == now or (was and there is None):  # else the project has taken it away or put it elsewhere
            continue
        handler = _built(now) if now else None
        if handler is not None:
            root.addHandler(handler)
        if there is not None:
            root.removeHandler(there)
            there.close()
        if handler is not None:
            handler.name = name  # only now: closing the old one takes its name out of logging's list
    if level_text(root.level) == former["root"]["level"]:  # else the project has set it
        root.setLevel(wanted["root"]["level"])


def _config(settings: Settings, framework: str) -> dict[str, Any]:
    return cast("dict[str, Any]", logging_config(settings, framework=framework))


def _spec(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return what a handler is made from, its formatter included; empty if it is switched off."""
    found = dict(config["handlers"].get(name, {}))
    if "formatter" in found:
        found["formatter"] = config["formatters"][found["formatter"]]
    return found


def _built(spec: Mapping[str, Any]) -> logging.Handler:
    """Make a handler as ``dictConfig`` does."""
    keywords = dict(spec)
    kind, level = resolve_name(keywords.pop("class")), keywords.pop("level", logging.NOTSET)
    formatter = dict(keywords.pop("formatter", {}))
    handler: logging.Handler = kind(**keywords)
    handler.setLevel(level)
    if formatter:
        handler.setFormatter(resolve_name(formatter.pop("()"))(**formatter))
    return handler
