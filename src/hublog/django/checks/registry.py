"""All checks with their tags; none of them ever raises."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from django.apps import AppConfig
from django.core.checks import CheckMessage, Tags, register

from hublog.django.checks import logging_checks, place_checks, project_checks
from hublog.django.checks.table import message

#: Runs ours alone: ``manage.py check --tag hublog``.
TAG: Final = "hublog"

Find = Callable[[], Iterator[CheckMessage]]
Check = Callable[..., list[CheckMessage]]


def _check(find: Find) -> Check:
    """Return a check as Django calls it."""

    def check(app_configs: Sequence[AppConfig] | None = None, **_kwargs: Any) -> list[CheckMessage]:  # noqa: ANN401  # Django's signature
        del app_configs
        found: list[CheckMessage] = []
        try:
            found.extend(find())
        except Exception as error:  # noqa: BLE001  # whatever stands in the settings, the others go on
            text = f"{find.__name__} could not be made ({type(error).__name__})."
            found.append(message("W015", text))
        return found

    # Not functools.wraps: Django looks for **kwargs in the signature.
    check.__name__, check.__doc__ = find.__name__, find.__doc__
    return check


CHECKS: Final[tuple[tuple[Check, tuple[str, ...]], ...]] = tuple(
    (_check(find), (TAG, *tags))
    for find, tags in (
        (project_checks.find_invalid_settings, ()),
        (project_checks.find_overridden_settings, ()),
        (project_checks.find_misspelt_settings, ()),
        (project_checks.find_middleware_trouble, ()),
        (project_checks.find_missing_connection, ()),
        (project_checks.find_missing_identity, ()),
        (project_checks.find_open_secrets, (Tags.security,)),
        (project_checks.find_secrets_in_settings, (Tags.security,)),
        (project_checks.find_shown_secrets, (Tags.security,)),
        (logging_checks.find_missing_handler, ()),
        (logging_checks.find_unreached_requests, ()),
        (logging_checks.find_contradictions, ()),
        (logging_checks.find_handlers_without_records, ()),
        (logging_checks.find_handlers_met_twice, ()),
        (logging_checks.find_silenced_loggers, ()),
        (logging_checks.find_hiding_root, ()),
        (logging_checks.find_plain_rotation, ()),
        (place_checks.find_unusable_spool, (Tags.files,)),
        (place_checks.find_unwritable_files, (Tags.files,)),
        (place_checks.find_server_trouble, ()),
        (place_checks.find_uwsgi_trouble, ()),
    )
)


def register_all() -> None:
    """Have Django run them with its own."""
    for check, tags in CHECKS:
        register(check, *tags)


def run_all() -> list[CheckMessage]:
    """Run them now, and return what is not silenced."""
    return [found for check, _ in CHECKS for found in check(None) if not found.is_silenced()]
