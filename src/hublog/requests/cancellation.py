"""Whether a server has ended what serves a request, or the application has raised a cancellation."""

import sys
from typing import Any, Final

#: By their names, since none of these packages is imported here. What trio, a greenlet's killer or the owner
#: of a coroutine throws comes from outside: an application that cancels a part of itself catches it.
_FROM_OUTSIDE: Final = frozenset({"Cancelled", "GreenletExit"})
_ASYNCIO: Final = "CancelledError"


def was_cancelled(error: BaseException) -> bool:
    """Whether an exception that ends a request is the server's doing; call it in the task that it has ended.

    The cancellation of asyncio is, where its own task was told to end. One that an application has raised, or
    that came out of something that it had cancelled, is a failure: the client waits, and gets a 500.
    """
    if isinstance(error, Exception):
        return False
    if isinstance(error, BaseExceptionGroup):
        return all(map(was_cancelled, error.exceptions))
    names = {base.__name__ for base in type(error).__mro__}
    if _ASYNCIO in names:
        return _is_task_ended()
    if isinstance(error, GeneratorExit):
        return True
    return not _FROM_OUTSIDE.isdisjoint(names)


def _is_task_ended() -> bool:
    asyncio: Any = sys.modules.get("asyncio")
    try:
        task = asyncio.current_task()
        return task is not None and task.cancelling() > 0
    except Exception:  # noqa: BLE001  # no loop runs here, or one whose tasks do not count
        return False
