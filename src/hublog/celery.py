"""For Celery: importing it sees to the records of the prefork pool's children.

::

    app = Celery("shop")
    import hublog.celery

A child of that pool leaves by ``os._exit``, so no exit hook of Python runs; Celery sends a signal before.
The worker itself, and with it the pools ``solo``, ``threads``, ``gevent`` and ``eventlet``, ends as any
program does, and needs nothing.
"""

from hublog.pipelines import drain_at_exit

try:
    from celery import signals
except ImportError as error:
    raise ImportError("hublog.celery needs Celery: pip install 'hublog[celery]'.") from error

__all__: list[str] = []


def _drain(**_: object) -> None:
    """Deliver what waits in a child of the pool, within the exit budget."""
    drain_at_exit()


# Not weakly, and once, however often the module is imported under another name or reloaded.
signals.worker_process_shutdown.connect(_drain, weak=False, dispatch_uid="hublog")
