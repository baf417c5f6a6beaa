"""Passes Django's settings to hublog once they can be read."""

import logging
from typing import Final

from django.apps import AppConfig
from django.core.signals import setting_changed

import hublog.django
from hublog.capture import thread_context
from hublog.configure import reload
from hublog.configure.handlers import apply_late
from hublog.django import tasks
from hublog.django.checks import register_all
from hublog.django.project import hide_secrets, lookup, read_project
from hublog.internal_log import report
from hublog.runtime import uncaught
from hublog.runtime.registry import use_lookup
from hublog.runtime.shutdown import pipelines
from hublog.settings import SETTINGS

_NAMES: Final = frozenset(setting.name for setting in SETTINGS)


class HublogConfig(AppConfig):
    """The app ``hublog.django``; its label is ``hublog``."""

    name = "hublog.django"
    label = "hublog"
    verbose_name = "hublog"

    def ready(self) -> None:
        """Hide secrets in the settings, read them, report problems, register the checks."""
        hide_secrets()
        reading = read_project()
        if reading.problems:
            report(logging.ERROR, f"Invalid settings, their defaults are used: {' '.join(reading.problems)}")
        for notice in reading.notices:
            report(logging.WARNING, notice)
        for made in hublog.django.made:
            apply_late(made, reading.settings, framework="django")
        use_lookup(lookup, framework="django")
        thread_context.follow(reading.settings)
        uncaught.follow(reading.settings)
        reload.follow(reading.settings, read_project, lambda _: _read_again())
        setting_changed.connect(_follow, weak=False, dispatch_uid="hublog")
        tasks.connect()
        register_all()


def _follow(*, setting: str, **_: object) -> None:
    """Read the settings again when a test overrides one of hublog's."""
    if setting in _NAMES:
        _read_again()


def _read_again() -> None:
    for pipeline in pipelines():
        pipeline.read_again()
    settings = read_project().settings
    thread_context.follow(settings)
    uncaught.follow(settings)
