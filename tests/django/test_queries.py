"""Queries are counted for each request, and nothing else that looks at them notices."""

import threading

import pytest
from asgiref.sync import async_to_sync
from django.db import connection, connections
from django.test import AsyncClient, Client, override_settings
from django.test.utils import CaptureQueriesContext

from hublog.capture import context
from hublog.django import middleware


@pytest.fixture(autouse=True)
def _urls():
    with override_settings(ROOT_URLCONF="tests.django.request_urls"):
        yield


def counted(seen):
    return [fields["db_query_count"] for _, fields in seen.of("hublog.request")]


def test_a_request_record_says_how_many_queries_it_made_and_how_long_they_took(seen, database):
    Client().get("/queries/3/")
    Client().get("/plain/")
    Client().get("/queries/1/")
    assert counted(seen) == [3, 0, 1]
    durations = [fields["db_duration_ms"] for _, fields in seen.of("hublog.request")]
    assert 0 < durations[0] < seen.of("hublog.request")[0][1]["duration_ms"]
    assert durations[1] == 0


def test_queries_of_an_async_view_in_other_threads_reach_their_request(seen, database):
    async def main():
        await AsyncClient().get("/aqueries/3/")

    async_to_sync(main)()
    assert counted(seen) == [3]


def test_queries_that_a_stream_makes_are_counted(seen, database):
    list(Client().get("/stream-of-queries/").streaming_content)
    assert counted(seen) == [3]


def test_a_query_that_fails_is_counted(seen, database):
    from django.db import transaction

    with transaction.atomic():
        Client(raise_request_exception=False).get("/failing-query/")
        transaction.set_rollback(True)
    assert counted(seen) == [1]


def test_a_request_inside_a_request_counts_its_own(seen, database):
    Client().get("/nested/")
    assert counted(seen) == [2, 1]


def test_those_who_count_queries_count_the_same_as_without(seen, database):
    with database.assertNumQueries(3):
        Client().get("/queries/3/")
    with CaptureQueriesContext(connection) as captured:
        Client().get("/queries/2/")
    assert len(captured) == 2
    assert counted(seen) == [3, 2]


def test_a_connection_has_one_wrapper_however_many_requests_it_serves(seen, database):
    for _ in range(3):
        Client().get("/queries/1/")
    assert connection.execute_wrappers.count(middleware._timed) == 1


def test_a_wrapper_of_the_application_is_taken_off_though_the_connection_opens_inside_of_it():
    def run():
        made = connections["default"]

        def own(execute, *known):
            return execute(*known)

        with made.execute_wrapper(own), made.cursor() as cursor:
            cursor.execute("SELECT 1")
        found.append(list(made.execute_wrappers))
        made.connection.close()

    found = []
    middleware.count_queries()
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found == [[middleware._timed]]


def test_what_is_queried_outside_of_a_request_is_counted_nowhere(seen, database):
    Client().get("/queries/1/")
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    assert context.stored().counter is None
    Client().get("/plain/")
    assert counted(seen) == [1, 0]


def test_threads_that_keep_their_connections_count_apart(seen):
    def work(times):
        client = Client()
        for _ in range(5):
            client.get(f"/queries/{times}/")
        connections["default"].connection.close()  # Django keeps one in memory open

    threads = [threading.Thread(target=work, args=(times,)) for times in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = [(fields["http_path"], fields["db_query_count"]) for _, fields in seen.of("hublog.request")]
    assert sorted(found) == sorted((f"/queries/{times}/", times) for times in (1, 2, 3) for _ in range(5))


@override_settings(LOG_COUNT_DB_QUERIES=False)
def test_counting_can_be_switched_off(seen, database):
    Client().get("/queries/3/")
    assert "db_query_count" not in seen.one("hublog.request")
