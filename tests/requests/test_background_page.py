"""The page on threads and tasks: its snippets run, and its tables say what the code does."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from hublog.requests import task_scope

PAGE = (Path(__file__).parents[2] / "docs" / "background.md").read_text()
SNIPPETS = [part.split("```")[0] for part in PAGE.split("```python\n")[1:]]
#: Stands for a backend that need not be installed.
BACKEND = "from django_tasks_db import DatabaseBackend"
OTHER = "from django.tasks.backends.immediate import ImmediateBackend as DatabaseBackend"
#: What a snippet needs that need not be there: tasks came with Django 6.0.
NEEDS = {"from celery": "celery", BACKEND: "django.tasks"}


def can_run(snippet):
    return all(importlib.util.find_spec(name) for word, name in NEEDS.items() if word in snippet)


@pytest.mark.parametrize(
    "snippet", [snippet.replace(BACKEND, OTHER) for snippet in SNIPPETS if can_run(snippet)]
)
def test_a_snippet_runs(snippet, tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", snippet],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_every_snippet_is_python():
    for snippet in SNIPPETS:
        compile(snippet, "snippet", "exec")


def test_the_page_names_each_outcome():
    for outcome in task_scope.TaskOutcome:
        assert f"| `task.{outcome}` |" in PAGE
