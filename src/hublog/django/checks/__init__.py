"""Django's system checks: what is wrong with a set-up, each with an id and what to do; see ``table``."""

from hublog.django.checks.registry import CHECKS, run_all
from hublog.django.checks.table import TABLE, checks_table

__all__ = ["CHECKS", "TABLE", "checks_table", "run_all"]
