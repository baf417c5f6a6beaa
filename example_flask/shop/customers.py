"""Which of the companies that use the shop a request belongs to."""

import re

from flask import abort, request

from hublog import bind

_TENANT = re.compile(r"[a-z][a-z0-9-]{1,30}")


def identify() -> None:
    """Bind the company to all records of this request; a header names it."""
    tenant = request.headers.get("X-Tenant")
    if tenant is None:
        return
    if not _TENANT.fullmatch(tenant):
        abort(400, "X-Tenant must be 2 to 31 lower-case letters, digits and hyphens, a letter first.")
    bind(tenant_id=tenant)
