"""What holds for each Django; what tasks do is tested where Django has them."""

import subprocess
import sys

import django
import pytest

HAS_TASKS = django.VERSION >= (6,)


@pytest.mark.parametrize("name", ["hublog.django.tasks", "hublog.django.apps"])
def test_the_module_can_be_imported_with_and_without_tasks(name):
    code = f"import {name}, sys; print('django.tasks' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == str(HAS_TASKS)


def test_it_offers_a_backend_where_there_are_tasks():
    from hublog.django import tasks

    assert tasks.__all__ == (["ContextBackend", "ContextTask"] if HAS_TASKS else [])
    tasks.connect()
