"""Which of the companies that use the shop a request belongs to."""

import re
from collections.abc import Callable
from inspect import iscoroutinefunction

from django.http import HttpRequest, HttpResponseBase, JsonResponse
from django.utils.decorators import sync_and_async_middleware

from hublog import bind

_TENANT = re.compile(r"[a-z][a-z0-9-]{1,30}")


@sync_and_async_middleware
def tenant_middleware(get_response: Callable) -> Callable:
    """Bind the company to all records of a request; a header names it."""
    if iscoroutinefunction(get_response):

        async def serve_async(request: HttpRequest) -> HttpResponseBase:
            return _identify(request) or await get_response(request)

        return serve_async

    def serve(request: HttpRequest) -> HttpResponseBase:
        return _identify(request) or get_response(request)

    return serve


def _identify(request: HttpRequest) -> JsonResponse | None:
    tenant = request.headers.get("X-Tenant")
    if tenant is None:
        return None
    if not _TENANT.fullmatch(tenant):
        allowed = "2 to 31 lower-case letters, digits and hyphens, a letter first"
        return JsonResponse({"error": f"X-Tenant must be {allowed}."}, status=400)
    bind(tenant_id=tenant)
    return None
