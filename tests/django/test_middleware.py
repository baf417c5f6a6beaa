import asyncio
import threading

import pytest
from django.test import AsyncClient, Client, override_settings
from tests.django import urls

from hublog.capture import context

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def test_every_record_of_a_request_has_its_fields(seen):
    response = Client().get(
        "/orders/7/?secret=1",
        headers={"traceparent": f"00-{TRACE}-{SPAN}-01", "X-Request-ID": "abc", "User-Agent": "tester"},
    )
    assert response.headers["X-Request-ID"] == "abc"
    fields = seen.one("shop.views")
    expected = {
        "trace_id": TRACE,
        "parent_span_id": SPAN,
        "request_id": "abc",
        "http_method": "GET",
        "http_path": "/orders/7/",
        "http_host": "testserver",
        "http_route": "/orders/<int:number>/",
        "view_name": "order",
        "http_user_agent": "tester",
        "client_ip": "127.0.0.1",
    }
    assert {name: fields[name] for name in expected} == expected
    end = seen.one("hublog.request")
    assert (end["http_status_code"], end["record_type"], end["http_route"]) == (
        200,
        "request",
        "/orders/<int:number>/",
    )
    assert end["http_response_size"] == len(response.content)
    assert context.bound() == {}


def test_an_async_view_under_asgi_has_its_fields(seen):
    async def main():
        response = await AsyncClient().get("/slow/1/", headers={"X-Request-ID": "abc"})
        assert context.bound() == {}
        return response

    response = asyncio.run(main())
    assert response.headers["X-Request-ID"] == "abc"
    found = [
        (message, fields["request_id"], fields["http_route"]) for message, fields in seen.of("shop.views")
    ]
    assert found == [("before 1", "abc", "/slow/<int:number>/"), ("after 1", "abc", "/slow/<int:number>/")]


def test_a_sync_view_under_asgi_has_its_fields(seen):
    asyncio.run(AsyncClient().get("/orders/7/", headers={"X-Request-ID": "abc"}))
    assert seen.one("shop.views")["request_id"] == "abc"
    assert seen.one("hublog.request")["http_route"] == "/orders/<int:number>/"


def test_requests_that_run_together_in_one_loop_mix_nothing_up(seen):
    async def main():
        client = AsyncClient()
        await asyncio.gather(
            *(client.get(f"/slow/{number}/", headers={"X-Request-ID": f"r{number}"}) for number in range(20))
        )

    asyncio.run(main())
    found = seen.of("shop.views")
    assert len(found) == 40
    assert all(fields["request_id"] == f"r{message.split()[1]}" for message, fields in found)


def test_an_exception_is_logged_with_the_fields_and_the_500_carries_the_id(seen):
    response = Client(raise_request_exception=False).get("/fail/", headers={"X-Request-ID": "abc"})
    assert (response.status_code, response.headers["X-Request-ID"]) == (500, "abc")
    fields = seen.one("django.request")
    assert (fields["request_id"], fields["http_route"]) == ("abc", "/fail/")
    assert fields["exc_info"][0] is LookupError
    assert seen.one("hublog.request")["http_status_code"] == 500
    assert context.bound() == {}


def test_an_unknown_path_has_an_id_and_no_route(seen):
    response = Client().get("/nowhere/")
    assert len(response.headers["X-Request-ID"]) == 32
    fields = seen.one("hublog.request")
    assert (fields["http_status_code"], fields["levelname"]) == (404, "WARNING")
    assert "http_route" not in fields


def test_a_host_that_is_not_allowed_is_djangos_400_and_not_our_error(seen):
    response = Client().get("/orders/7/", headers={"Host": "evil.example"})
    assert response.status_code in (200, 400)
    assert "evil" not in str(seen.one("hublog.request").get("http_host", ""))


def test_what_was_exposed_before_stays_exposed(seen):
    response = Client().get("/exposed/")
    assert response.headers["Access-Control-Expose-Headers"] == "X-Total, X-Request-ID"


@pytest.mark.parametrize("value", ["a b", "x" * 200, "<script>"])
def test_a_hostile_id_is_neither_logged_nor_echoed(seen, value):
    response = Client().get("/orders/7/", headers={"X-Request-ID": value})
    assert response.headers["X-Request-ID"] != value
    assert seen.one("shop.views")["request_id"] != value


def test_a_streamed_body_has_the_fields_and_ends_the_request(seen):
    response = Client().get("/stream/", headers={"X-Request-ID": "abc"})
    assert seen.of("hublog.request") == []
    assert context.bound() == {}
    assert b"".join(response.streaming_content) == b"xxx"
    assert [fields["request_id"] for _, fields in seen.of("shop.views")] == ["abc"] * 3
    assert seen.one("hublog.request")["http_status_code"] == 200
    assert context.bound() == {}


def test_a_stream_whose_client_disconnects_leaves_no_fields_behind(seen):
    response = Client().get("/stream/")
    next(iter(response.streaming_content))
    response.close()
    del response
    assert context.bound() == {}
    assert len(seen.of("hublog.request")) == 1


def test_an_async_stream_has_the_fields(seen):
    async def main():
        response = await AsyncClient().get("/astream/", headers={"X-Request-ID": "abc"})
        return b"".join([part async for part in response.streaming_content])

    assert asyncio.run(main()) == b"xxx"
    assert [fields["request_id"] for _, fields in seen.of("shop.views")] == ["abc"] * 3
    assert len(seen.of("hublog.request")) == 1


def test_a_cancelled_request_is_logged_and_leaves_no_fields_behind(seen):
    async def main():
        waiting = asyncio.Event()
        urls.WAITING.append(waiting)
        task = asyncio.ensure_future(AsyncClient().get("/forever/"))
        await asyncio.wait_for(waiting.wait(), 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return dict(context.bound())

    assert asyncio.run(main()) == {}
    assert seen.one("hublog.request")["http_path"] == "/forever/"


def test_the_next_request_of_a_thread_has_nothing_of_the_last(seen):
    def work():
        client = Client()
        client.get("/orders/1/", headers={"X-Correlation-ID": "corr-1", "X-Request-ID": "first"})
        assert context.bound() == {}
        client.get("/orders/2/")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    first, second = (fields for _, fields in seen.of("shop.views"))
    assert first["correlation_id"] == "corr-1"
    assert "correlation_id" not in second
    assert second["request_id"] != "first"


def test_a_user_that_is_not_used_costs_no_query_and_no_vary(seen, database):
    with database.assertNumQueries(0):
        response = Client().get("/orders/7/")
    assert "Vary" not in response.headers
    assert "user_id" not in seen.one("hublog.request")


def test_a_user_that_the_view_loaded_is_noted(seen, database):
    from django.contrib.auth.models import User

    user = User.objects.create_user("ann", password="pw")
    client = Client()
    client.force_login(user)
    with database.assertNumQueries(2):  # the session and the user, which the view asked for
        client.get("/me/")
    fields = seen.one("hublog.request")
    assert (fields["user_id"], fields["user_authenticated"]) == (str(user.pk), True)


def test_an_anonymous_user_that_the_view_looked_at_is_noted_as_such(seen, database):
    Client().get("/me/")
    fields = seen.one("hublog.request")
    assert fields["user_authenticated"] is False
    assert "user_id" not in fields


@override_settings(LOG_REQUEST_ID_HEADER="X-Trace-Key", LOG_ACCESS_RECORDS=False)
def test_settings_of_the_project_apply(seen):
    response = Client().get("/orders/7/", headers={"X-Trace-Key": "abc"})
    assert response.headers["X-Trace-Key"] == "abc"
    assert seen.of("hublog.request") == []
