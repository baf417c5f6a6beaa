"""Hands Django's settings over to hublog once they can be read."""

import logging

from django.apps import AppConfig

import hublog.django
from hublog.capture import threads, uncaught
from hublog.configure.late import apply_late
from hublog.django import tasks
from hublog.django.checks.registry import register_all
from hublog.django.hidden import hide_secrets
from hublog.django.project import lookup, read_project
from hublog.pipelines import use_lookup
from hublog.reports import report


class HublogConfig(AppConfig):
    """The app ``hublog.django``; its label is ``hublog``."""

    name = "hublog.django"
    label = "hublog"
    verbose_name = "hublog"

    def ready(self) -> None:
        """Hide secrets in the settings, read them, say what is wrong with them, register the checks."""
        hide_secrets()
        reading = read_project()
        if reading.problems:
            report(logging.ERROR, f"Invalid settings, each has its default now: {' '.join(reading.problems)}")
        for notice in reading.notices:
            report(logging.WARNING, notice)
        for made in hublog.django.made:
            apply_late(made, reading.settings, framework="django")
        use_lookup(lookup, framework="django")
        threads.follow(reading.settings)
        uncaught.follow(reading.settings)
        tasks.connect()
        register_all()
