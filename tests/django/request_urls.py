"""Views that end in every way, or look at what costs something."""

import asyncio
import logging
import tempfile

from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.db import connection
from django.http import FileResponse, Http404, HttpResponse, StreamingHttpResponse
from django.test import Client
from django.urls import include, path

import hublog

LOGGER = logging.getLogger("shop.views")
#: What a test sets and a view waits for, or the other way round.
EVENTS = {}


def plain(request, **known):
    LOGGER.info("plain")
    return HttpResponse("ok")


def status(request, code):
    return HttpResponse("x", status=code, reason="Odd")


async def aplain(request, number):
    hublog.bind(tenant_id="acme")
    LOGGER.info("before %d", number)
    await asyncio.sleep(0)
    LOGGER.info("after %d", number)
    return HttpResponse("ok")


async def astatus(request, code):
    return HttpResponse("x", status=code)


def raising(request, name):
    raise {
        "missing": Http404,
        "denied": PermissionDenied,
        "suspicious": SuspiciousOperation,
        "broken": LookupError,
    }[name]("for the test")


async def araising(request, name):
    return raising(request, name)


def host(request):
    return HttpResponse(request.get_host())


def visits(request):
    request.session["visits"] = request.session.get("visits", 0) + 1
    return HttpResponse("ok")


def look(request):
    return HttpResponse(str(request.session.get("visits")))


def me(request):
    return HttpResponse(str(request.user))


async def ame(request):
    return HttpResponse(str(await request.auser()))


def failing_for_me(request):
    raise LookupError(str(request.user))


def _select(times):
    for _ in range(times):
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")


def queries(request, times):
    _select(times)
    return HttpResponse("ok")


async def aqueries(request, times):
    await asyncio.gather(*(sync_to_async(_select)(1) for _ in range(times)))
    return HttpResponse("ok")


def failing_query(request):
    with connection.cursor() as cursor:
        cursor.execute("SELECT nothing FROM nowhere")


def users(request):
    return HttpResponse(str(list(User.objects.all())))


def bound(request):
    hublog.bind(tenant_id="acme", cart=7)
    LOGGER.info("bound")
    return HttpResponse("ok")


def bound_stream(request):
    hublog.bind(tenant_id="acme")

    def parts():
        for number in range(3):
            LOGGER.info("part %d", number)
            yield f"{number}\n"

    return StreamingHttpResponse(parts())


def stream_of_queries(request):
    def parts():
        for _ in range(3):
            _select(1)
            yield b"x"

    return StreamingHttpResponse(parts())


def broken_stream(request):
    def parts():
        yield b"abc"
        raise LookupError("broken")

    return StreamingHttpResponse(parts())


async def endless(request):
    async def parts():
        try:
            while True:
                LOGGER.info("part")
                yield b"abc"
                EVENTS["sent"].set()
                await asyncio.Event().wait()
        finally:
            LOGGER.info("closed")

    return StreamingHttpResponse(parts())


async def forever(request):
    EVENTS["begun"].set()
    await asyncio.Event().wait()


def file(request):
    found = tempfile.TemporaryFile()  # noqa: SIM115  # the response closes it
    found.write(b"x" * 10_000)
    found.seek(0)
    return FileResponse(found, filename="x.bin")


def nested(request):
    Client().get("/queries/2/", headers={"X-Request-ID": "inner"})
    LOGGER.info("after")
    _select(1)
    return HttpResponse("ok")


def sync_middleware(get_response):
    """Knows nothing of coroutines."""

    def serve(request):
        LOGGER.info("in the middleware")
        return get_response(request)

    return serve


def failing_middleware(get_response):
    def serve(request):
        raise LookupError("in the middleware")

    return serve


shop = [path("orders/<int:number>/", plain, name="order")]
urlpatterns = [
    path("plain/", plain, name="plain"),
    path("aplain/<int:number>/", aplain, name="aplain"),
    path("shop/", include((shop, "shop"), namespace="store")),
    path("status/<int:code>/", status),
    path("astatus/<int:code>/", astatus),
    path("raising/<name>/", raising),
    path("araising/<name>/", araising),
    path("host/", host),
    path("visits/", visits),
    path("look/", look),
    path("me/", me),
    path("ame/", ame),
    path("failing/", failing_for_me),
    path("queries/<int:times>/", queries),
    path("aqueries/<int:times>/", aqueries),
    path("failing-query/", failing_query),
    path("users/", users),
    path("bound/", bound),
    path("bound-stream/", bound_stream),
    path("stream-of-queries/", stream_of_queries),
    path("broken-stream/", broken_stream),
    path("endless/", endless),
    path("forever/", forever),
    path("file/", file),
    path("nested/", nested),
]
