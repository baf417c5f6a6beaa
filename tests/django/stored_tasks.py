"""Tasks that run at once, and tasks that are stored for a worker."""

import logging

from django.dispatch import receiver
from django.tasks import task
from django.tasks.signals import task_finished

from hublog.capture import context

log = logging.getLogger("shop.tasks")


@task
def pay(order, *, amount=0):
    log.info("pay %s %s", order, amount)
    context.bind(left_behind=order)


@task
def fail():
    raise LookupError("gone")


@task
def outer():
    log.info("outer")
    pay.enqueue(7)
    log.info("outer again")


@task(takes_context=True)
def told(context):
    log.info("attempt %d", context.attempt)


@task
async def coroutine():
    log.info("coroutine")


@task(backend="stored", queue_name="mail")
def send(*args, **kwargs):
    log.info("send %s %s", args, sorted(kwargs))


@task(backend="stored")
def resend():
    log.info("resend")
    send.enqueue()


@task(backend="stored", takes_context=True)
def told_later(context, name):
    log.info("attempt %d of %s", context.attempt, name)


@task(backend="plain")
def plain(**kwargs):
    log.info("plain %s", sorted(kwargs))


AFTER = []


@receiver(task_finished)
def note(**_):
    """Connected after hublog: what is bound once a task has ended."""
    AFTER.append(dict(context.bound()))
