"""What is in force, in half a line each; without secrets."""

from hublog.configure.dict_config import level_text
from hublog.configure.handlers import file_name
from hublog.doctor.target import Target
from hublog.settings import Settings


def destinations_text(settings: Settings) -> str:
    """Return the three destinations with their levels."""
    file, hub = settings.file, settings.eventhub
    path = settings.log_dir / file_name()
    parts = (
        f"console {level_text(settings.level)}" if settings.log_to_stdout else "console off",
        f"file {level_text(file.level)} ({path})" if file.enabled else "file off",
        f"Event Hub {level_text(hub.level)} (packing {hub.packing}, spool {hub.spool})"
        if hub.enabled
        else "Event Hub off",
    )
    return ", ".join(parts)


def has_destination(settings: Settings) -> bool:
    """Whether records go anywhere."""
    return settings.log_to_stdout or settings.file.enabled or settings.eventhub.enabled


def target_text(target: Target) -> str:
    """Return where records are sent, and who says so to the hub."""
    way = "" if target.has_tls else ", an emulator without TLS"
    text = f"event hub {target.hub!r} at {target.host}, port {target.port}{way}"
    if target.has_identity:
        return f"{text}, without a key"
    if target.policy:
        return f"{text}, key of the policy {target.policy!r}"
    if target.expires_at is None:
        return f"{text}, a shared access signature"
    return f"{text}, a shared access signature until {target.expires_at:%Y-%m-%d %H:%M:%S} UTC"
