"""What the first handler, or ``configure``, installs in this process; importing hublog installs nothing."""

from hublog.capture import thread_context
from hublog.process_hooks import process_hooks
from hublog.runtime import sigterm, uncaught
from hublog.runtime.framework import adapter
from hublog.runtime.registry import drain_at_exit, forget_in_child


def install() -> None:
    """Register the hooks of exit and fork, and follow the settings; at the first call in a process.

    What the settings ask for besides, as the hook of SIGTERM, is installed when a pipeline reads them.
    """
    if process_hooks.at_exit is drain_at_exit:
        return
    process_hooks.at_exit = drain_at_exit
    process_hooks.in_child(forget_in_child)
    adapter.followers.extend((thread_context.follow, uncaught.follow, sigterm.follow))
    process_hooks.install()
