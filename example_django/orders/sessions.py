"""Sign in and out; the record of each request then carries the customer's key as ``user_id``."""

import logging

from django.contrib import auth
from django.http import HttpRequest, JsonResponse
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_http_methods

from orders.bodies import json_object

log = logging.getLogger(__name__)


@ensure_csrf_cookie
@require_http_methods(["GET", "POST", "DELETE"])
def session(request: HttpRequest) -> JsonResponse:
    """GET tells who is signed in, POST ``{"username": ..., "password": ...}`` signs in, DELETE signs out."""
    if request.method == "POST":
        return _sign_in(request)
    if request.method == "DELETE":
        auth.logout(request)
    return JsonResponse({"user": request.user.get_username() or None})


@sensitive_variables()
def _sign_in(request: HttpRequest) -> JsonResponse:
    given = json_object(request)
    user = auth.authenticate(request, username=given.get("username"), password=given.get("password"))
    if user is None:
        log.warning("Sign-in failed", extra={"event_name": "session.refused"})
        return JsonResponse({"error": "Name or password is wrong."}, status=401)
    auth.login(request, user)
    log.info("Customer signed in", extra={"event_name": "session.started", "user_id": user.pk})
    return JsonResponse({"user": user.get_username()}, status=201)
