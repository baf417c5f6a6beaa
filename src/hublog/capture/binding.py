"""``hublog.bind`` and ``hublog.unbind``: what they bind in threads and tasks of a request is in its record.

A web framework runs an endpoint in a thread pool or in a task of its own, with a copy of the context that the
request was begun in; what is bound there is bound nowhere else.
"""

from contextvars import Token
from typing import Any

from hublog.capture import context
from hublog.capture.context import Context, bound
from hublog.capture.serving import current

__all__ = ["bind", "bound", "unbind"]


def bind(**fields: object) -> Token[Context]:
    """Add fields to every record that this request, task or thread logs from now on.

    Inside a request they are in its request record, in whichever of its threads and tasks they are bound.

    Args:
        fields: column names (``tenant_id="acme"``) or free names, which go into ``extra``.

    Returns:
        The token that ``unbind`` takes back; not needed inside a request, whose end clears all.
    """
    token = context.bind(**fields)
    scope: Any = current.get()
    if scope is not None and scope.serves(context.bound()):
        scope.noted.update(fields)
    return token


def unbind(*names: str | Token[Context]) -> None:
    """Take fields back: these names, or what one call of ``bind`` has added.

    Args:
        names: of fields, bound or not; or the token that ``bind`` returned, which brings back all that was
            bound before that call.

    Raises:
        TypeError: it is neither names nor one token.
    """
    before = context.bound()
    context.unbind(*names)
    scope: Any = current.get()
    if scope is None or not scope.serves(before):
        return
    after = context.bound()
    for name in before:
        if name not in after:
            scope.noted.pop(name, None)
        elif name in scope.noted:
            scope.noted[name] = after[name]
