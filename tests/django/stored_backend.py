"""A backend of tasks that keeps them as JSON for a worker, after the manner of django-tasks-db."""

import json
import uuid

from django.tasks import TaskResultStatus
from django.tasks.backends.base import BaseTaskBackend
from django.tasks.base import TaskContext, TaskError, TaskResult
from django.tasks.signals import task_enqueued, task_finished, task_started
from django.utils import timezone
from django.utils.module_loading import import_string

from hublog.django.tasks import ContextBackend

STORED = {}


class StoredBackend(BaseTaskBackend):
    """Stores tasks in memory, as JSON; ``work`` does what a worker does."""

    supports_async_task = True

    @property
    def stored(self):
        """What is stored; Django makes a backend for each thread."""
        return STORED.setdefault(self.alias, [])

    def enqueue(self, task, args, kwargs):
        self.validate_task(task)
        row = {"id": uuid.uuid4().hex, "path": task.module_path, "args": args, "kwargs": kwargs}
        self.stored.append(json.dumps(row))
        found = self._result(row, TaskResultStatus.READY, 0)
        task_enqueued.send(type(self), task_result=found)
        return found

    def _result(self, row, status, attempts):
        return TaskResult(
            task=import_string(row["path"]),
            id=row["id"],
            status=status,
            enqueued_at=timezone.now(),
            started_at=None,
            finished_at=None,
            last_attempted_at=None,
            args=row["args"],
            kwargs=row["kwargs"],
            backend=self.alias,
            errors=[],
            worker_ids=["w"] * attempts,
        )

    def work(self, attempts=1):
        """Run what is stored, and what that stores."""
        while self.stored:
            row = json.loads(self.stored.pop(0))
            result = self._result(row, TaskResultStatus.RUNNING, attempts)
            task_started.send(type(self), task_result=result)
            arguments = [TaskContext(task_result=result)] if result.task.takes_context else []
            status = TaskResultStatus.SUCCESSFUL
            try:
                result.task.call(*arguments, *result.args, **result.kwargs)
            except Exception as error:
                status = TaskResultStatus.FAILED
                result.errors.append(TaskError(exception_class_path=type(error).__name__, traceback=""))
            task_finished.send(type(self), task_result=self._result(row, status, attempts))


class Backend(ContextBackend, StoredBackend):
    """As an application writes it."""
