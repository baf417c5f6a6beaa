"""Django's tasks log with the fields of the request that enqueued them, and each run with one record.

``AppConfig.ready`` connects it where Django has tasks, from 6.0 on. A backend that runs a task at once, as
``ImmediateBackend`` does, needs nothing else. One that stores it for a worker has no place for them but
the arguments, so its class derives from ``ContextBackend`` first::

    class Backend(ContextBackend, DatabaseBackend):
        pass
"""

from contextlib import suppress
from typing import Any, Final

from hublog.requests import task_scope
from hublog.requests.task_scope import TaskOutcome, TaskScope

#: The keyword under which the fields are stored.
KEY: Final = "_hublog"

try:
    from django.tasks import TaskResultStatus
    from django.tasks.backends.base import BaseTaskBackend
    from django.tasks.base import Task
    from django.tasks.signals import task_finished, task_started
except ImportError:  # Django 5.2

    def connect() -> None:
        """Do nothing: this Django has no tasks."""

    __all__: list[str] = []
else:
    __all__ = ["ContextBackend", "ContextTask"]

    _OUTCOMES = {
        TaskResultStatus.SUCCESSFUL: TaskOutcome.SUCCEEDED,
        TaskResultStatus.READY: TaskOutcome.RETRIED,
    }

    class ContextTask(Task):  # type: ignore[type-arg]  # it takes none at run time
        """A task whose stored arguments hold the fields of the request; its function does not see them."""

        def call(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  # the function's own
            """Run the function."""
            kwargs.pop(KEY, None)
            return super().call(*args, **kwargs)

        async def acall(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
            """Run the function, which may be a coroutine function."""
            kwargs.pop(KEY, None)
            return await super().acall(*args, **kwargs)

    class ContextBackend(BaseTaskBackend):
        """Stores the fields of the request with the arguments of a task, as the keyword ``_hublog``.

        In front of a backend that keeps tasks for a worker. A backend that has a class of tasks of its own
        needs a ``task_class`` that is a ``ContextTask`` too. Workers must have it before it is used: one
        that does not know it hands the keyword to the function.
        """

        task_class = ContextTask

        def enqueue(self, task: Any, args: Any, kwargs: Any) -> Any:  # noqa: ANN401
            """Queue up a task to be executed."""
            return super().enqueue(task, args, _with_fields(task, kwargs))

        async def aenqueue(self, task: Any, args: Any, kwargs: Any) -> Any:  # noqa: ANN401
            """Queue up a task to be executed."""
            return await super().aenqueue(task, args, _with_fields(task, kwargs))

    def connect() -> None:
        """Have tasks log with fields; once, however often it is called."""
        task_started.connect(_begin, weak=False, dispatch_uid="hublog")
        task_finished.connect(_end, weak=False, dispatch_uid="hublog")


def _with_fields(task: object, kwargs: dict[str, object]) -> dict[str, object]:
    # Not for a task of another class, which would hand the keyword to its function.
    if not isinstance(task, ContextTask):
        return kwargs
    with suppress(Exception):  # the task must be stored
        carried = task_scope.outgoing()
        if carried:
            return {KEY: carried, **kwargs}
    return kwargs


def _begin(task_result: Any, **_: object) -> None:  # noqa: ANN401  # of Django, or of Django 5.2's backport
    """Bind the fields of a task that is about to run."""
    with suppress(Exception):  # the task must run
        task = task_result.task
        TaskScope(
            name=task.module_path,
            task_id=str(task_result.id),
            queue=str(task.queue_name),
            retries=max(task_result.attempts - 1, 0),
            carried=task_scope.accepted(task_result.kwargs.get(KEY)) or task_scope.outgoing(),
        ).enter()


def _end(task_result: Any, **_: object) -> None:  # noqa: ANN401
    """Write the record of a task that has run, and unbind its fields."""
    with suppress(Exception):  # a handler or filter of the application may raise
        scope = task_scope.running(str(task_result.id))
        if scope is not None:
            scope.end(_OUTCOMES.get(task_result.status, TaskOutcome.FAILED))
