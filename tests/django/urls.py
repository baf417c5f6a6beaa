import asyncio
import logging

from django.http import HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path

LOGGER = logging.getLogger("shop.views")
WAITING = []  # an event that the test waits for


def order(request, number):
    LOGGER.info("order %d", number)
    return JsonResponse({"number": number})


async def slow(request, number):
    LOGGER.info("before %d", number)
    await asyncio.sleep(0)
    LOGGER.info("after %d", number)
    return JsonResponse({"number": number})


def fail(request):
    raise LookupError("broken")


def me(request):
    response = HttpResponse(str(request.user))
    LOGGER.info("me")
    return response


def exposed(request):
    return HttpResponse("ok", headers={"Access-Control-Expose-Headers": "X-Total"})


def stream(request):
    def parts():
        for number in range(3):
            LOGGER.info("part %d", number)
            yield b"x"

    return StreamingHttpResponse(parts())


async def astream(request):
    async def parts():
        for number in range(3):
            LOGGER.info("part %d", number)
            yield b"x"

    return StreamingHttpResponse(parts())


async def forever(request):
    LOGGER.info("waiting")
    WAITING.pop().set()
    await asyncio.Event().wait()


urlpatterns = [
    path("orders/<int:number>/", order, name="order"),
    path("slow/<int:number>/", slow, name="slow"),
    path("fail/", fail, name="fail"),
    path("me/", me, name="me"),
    path("exposed/", exposed, name="exposed"),
    path("stream/", stream, name="stream"),
    path("astream/", astream, name="astream"),
    path("forever/", forever, name="forever"),
]
