"""The logging side of requests and tasks, for every framework; ``docs/adapters.md`` shows how to use it."""

from hublog.requests.request_scope import RequestScope
from hublog.requests.streaming import AsyncBody, Body
from hublog.requests.task_scope import TaskOutcome, TaskScope, accepted, outgoing

__all__ = ["AsyncBody", "Body", "RequestScope", "TaskOutcome", "TaskScope", "accepted", "outgoing"]
