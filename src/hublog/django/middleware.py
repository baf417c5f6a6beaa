"""Request fields in every record: one middleware class for sync and async."""

import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, Final

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.http import HttpRequest, HttpResponseBase
from django.utils.log import log_response

from hublog.django import queries
from hublog.django.conf import read_project
from hublog.django.visit import Visit, visit_of
from hublog.settings import RequestSettings

GetResponse = Callable[[HttpRequest], HttpResponseBase] | Callable[[HttpRequest], Awaitable[HttpResponseBase]]

_CLIENT_ERROR: Final = 400


class RequestContextMiddleware:
    """Binds trace id, request id, method, path, route and user; echoes the request id; logs the request.

    Put it first in ``MIDDLEWARE``. It makes no query and does not touch the session, so no response
    varies by cookie on its account.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response: Any = get_response
        self.is_async = iscoroutinefunction(get_response)
        self.settings: RequestSettings = read_project().settings.request
        if self.settings.count_queries:
            queries.watch()
        self.process_view: Any = _note_route
        if self.is_async:
            markcoroutinefunction(self)
            self.process_view = _note_route_async  # else Django sends each request through a thread for it

    def __call__(self, request: HttpRequest) -> Any:  # noqa: ANN401  # a response, or its awaitable
        """Serve a request."""
        if self.is_async:
            return self._serve_async(request)
        visit = Visit(request, self.settings)
        visit.begin()
        try:
            response = self.get_response(request)
            if _is_untold(response):
                with contextlib.suppress(Exception):
                    _tell(request, response)
        except BaseException as error:
            visit.fail(error)
            raise
        visit.end(response)
        return response

    async def _serve_async(self, request: HttpRequest) -> HttpResponseBase:
        visit = Visit(request, self.settings)
        visit.begin()
        try:
            response: HttpResponseBase = await self.get_response(request)
            if _is_untold(response):
                with contextlib.suppress(Exception):
                    await sync_to_async(_tell, thread_sensitive=False)(request, response)
        except BaseException as error:  # a cancelled request too
            visit.fail(error)
            raise
        visit.end(response)
        return response

    def process_exception(self, request: HttpRequest, exception: Exception) -> None:
        """Bind the user, so that the record of the exception names whom it hit."""
        del exception
        visit = visit_of(request)
        if visit is not None:
            visit.note_user()


def _note_route(request: HttpRequest, view: object, args: object, kwargs: object) -> None:
    """Bind the route, known from here on."""
    del view, args, kwargs
    visit = visit_of(request)
    if visit is not None:
        visit.note_route()


async def _note_route_async(request: HttpRequest, view: object, args: object, kwargs: object) -> None:
    _note_route(request, view, args, kwargs)


def _is_untold(response: HttpResponseBase) -> bool:
    return getattr(response, "status_code", 0) >= _CLIENT_ERROR and not getattr(
        response, "_has_been_logged", False
    )


def _tell(request: HttpRequest, response: HttpResponseBase) -> None:
    """Write Django's own line on a response of 400 and above, which it writes after all middleware else.

    Here it has the request's fields, and Django does not write it again.
    """
    shown: Any = response  # the stubs know of no streamed one
    log_response("%s: %s", response.reason_phrase, request.path, response=shown, request=request)
