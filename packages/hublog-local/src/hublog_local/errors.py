"""The error that leaves this package."""

from hublog.errors import HublogError


class LocalHubError(HublogError):
    """The local hub cannot start, or cannot answer what it was asked."""
