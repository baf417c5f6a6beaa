"""Each test here is a run of pytest in a process of its own, as its user would start it."""

import subprocess
import sys
import textwrap

import pytest

#: What nobody may load because hublog is installed.
HEAVY = ("azure", "concurrent_log_handler", "django", "duckdb", "flask", "numpy", "celery", "yaml")


@pytest.fixture
def run(pytester, monkeypatch):
    """Run pytest on a file; warnings are errors."""
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    for name in ("LOG_TO_STDOUT", "FILE_LOGGING_ENABLED"):
        monkeypatch.setenv(name, "false")

    def run(source, *arguments):
        pytester.makepyfile(textwrap.dedent(source))
        return pytester.runpytest_subprocess("-W", "error", "-p", "no:cacheprovider", *arguments, timeout=100)

    return run


def test_a_suite_that_does_not_use_it_runs_as_ever(run):
    result = run(
        f"""
        import logging, sys, threading

        def test_nothing_is_loaded_and_nothing_is_changed(request):
            assert not [name for name in {HEAVY!r} if name in sys.modules]
            assert "hublog.testing.capturing" not in sys.modules
            assert "hublog_records" not in request.fixturenames
            assert threading.active_count() == 1
            assert not any("hublog" in type(found).__module__ for found in logging.getLogger().handlers)
        """,
        "--strict-markers",
        "-p",
        "no:django",
        "-p",
        "no:timeout",
    )
    result.assert_outcomes(passed=1)


def test_a_run_without_it_runs_and_says_that_the_fixture_is_missing(run):
    result = run("def test_that(): pass\ndef test_it(hublog_records): pass", "-p", "no:hublog")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*fixture 'hublog_records' not found*"])


def test_the_plugin_loads_nothing_beyond_its_packages():
    program = f"""
import sys
import hublog
import pytest
before = set(sys.modules)
import hublog.testing.plugin
print([name for name in {HEAVY!r} if name in sys.modules], sorted(set(sys.modules) - before))
"""
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout == "[] ['hublog.testing', 'hublog.testing.plugin']\n"


def test_each_test_has_its_own_records_in_each_worker_of_xdist(run):
    source = """
        import logging, pytest

        @pytest.mark.parametrize("number", range(20))
        def test_it(hublog_records, number):
            logging.getLogger("shop").info("order %d", number)
            assert hublog_records.messages == [f"order {number}"]
    """
    run(source, "-n", "2").assert_outcomes(passed=20)


def test_the_level_comes_from_the_marker_then_the_file_then_the_environment(run, pytester, monkeypatch):
    monkeypatch.setenv("EVENTHUB_LOG_LEVEL", "ERROR")
    source = """
        import logging, pytest

        def messages(records):
            logging.getLogger("shop").debug("low")
            logging.getLogger("shop").warning("high")
            return records.messages

        @pytest.mark.hublog(level="DEBUG")
        def test_marker(hublog_records):
            assert messages(hublog_records) == ["low", "high"]

        def test_file(hublog_records, request):
            assert len(messages(hublog_records)) == (1 if request.config.getini("hublog_level") else 0)
    """
    run(source, "--strict-markers").assert_outcomes(passed=2)
    pytester.makeini("[pytest]\nhublog_level = WARNING\nlog_level = CRITICAL\n")
    run(source, "--strict-markers").assert_outcomes(passed=2)


def test_a_level_that_is_none_is_told(run, pytester):
    pytester.makeini("[pytest]\nhublog_level = LOUD\n")
    result = run("def test_it(hublog_records): pass")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*ValueError: level is 'LOUD'; it must be a number or one of *"])


def test_a_failed_assertion_shows_the_line_of_the_test_and_the_closest_record(run):
    result = run(
        """
        import logging

        def test_it(hublog_records):
            logging.getLogger("shop").warning("payment of order 8 failed", extra={"order": 8})
            hublog_records.assert_logged(level="ERROR", message="failed", order=8)
        """
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            '>*hublog_records.assert_logged(level="ERROR", message="failed", order=8)',
            "E*No record reached the Event Hub with level ERROR, message containing 'failed' and *",
            "E*1 record did; this is closest:",
            "E*WARNING shop: payment of order 8 failed  [[]*test_a_failed*.py:4[]]",
            "E*- level is WARNING, not ERROR",
        ]
    )
    assert "recorded.py" not in result.stdout.str()


def test_a_forbidden_secret_fails_the_test_at_its_end_and_is_not_shown(run, monkeypatch):
    monkeypatch.setenv("SHOP_KEY", "verysecret")
    result = run(
        """
        import logging, os

        def test_it(hublog_records, caplog):
            hublog_records.forbid(os.environ["SHOP_KEY"])
            logging.getLogger("shop").error(os.environ["SHOP_KEY"])
            caplog.clear()

        def test_the_next_begins_as_ever(hublog_records):
            assert len(hublog_records) == 0
        """,
        "--show-capture=no",
        "--showlocals",
    )
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(
        ["A secret reached the Event Hub*", "*row 1, *: message contains the given value"]
    )


def test_classes_of_unittest_use_it(run):
    run(
        """
        import logging, unittest, pytest
        from hublog.testing import capture_records

        @pytest.mark.usefixtures("hublog_records")
        class Marked(unittest.TestCase):
            def test_it(self):
                logging.getLogger("shop").info("order")

        class Injected(unittest.TestCase):
            @pytest.fixture(autouse=True)
            def _records(self, hublog_records):
                self.records = hublog_records

            def test_it(self):
                logging.getLogger("shop").info("order")
                self.records.assert_logged(message="order")

        class Entered(unittest.TestCase):
            def setUp(self):
                self.records = self.enterContext(capture_records())

            def test_it(self):
                with self.assertLogs("shop") as seen:
                    logging.getLogger("shop").info("seen by unittest alone")
                logging.getLogger("shop").info("order")
                self.assertEqual(self.records.messages, ["order"])
        """
    ).assert_outcomes(passed=3)


def test_caplog_goes_on_beside_it(run):
    run(
        """
        import logging

        def test_it(caplog, hublog_records):
            caplog.set_level("DEBUG")
            logging.getLogger("shop").debug("low")
            logging.getLogger("shop").info("order")
            assert caplog.messages == ["low", "order"]
            assert hublog_records.messages == ["order"]

        def test_its_level_is_back(caplog):
            logging.getLogger("shop").debug("low")
            assert logging.getLogger().level == logging.WARNING
            assert caplog.messages == []
        """
    ).assert_outcomes(passed=2)


DJANGO = """
    import hublog.django

    SECRET_KEY = "x"
    ALLOWED_HOSTS = ["testserver"]
    ROOT_URLCONF = "urls"
    INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "hublog.django"]
    MIDDLEWARE = ["hublog.django.middleware.RequestContextMiddleware"]
    DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
    LOG_SERVICE_NAME = "shop"
    EVENTHUB_NAMESPACE_CONNECTION_STRING = (
        "Endpoint=sb://hub.example;SharedAccessKeyName=n;SharedAccessKey=S3cretKey"
    )
    LOG_TO_STDOUT = FILE_LOGGING_ENABLED = False
    LOGGING = hublog.django.logging_config(globals())
"""


def test_a_project_of_django_arrives_from_every_kind_of_its_tests(run, pytester):
    pytester.makepyfile(
        shop_settings=textwrap.dedent(DJANGO),
        urls=textwrap.dedent(
            """
            import logging
            from django.http import HttpResponse
            from django.urls import path

            def order(request, number):
                logging.getLogger("shop").info("looked at order %d", number)
                return HttpResponse("tea")

            urlpatterns = [path("orders/<int:number>/", order)]
            """
        ),
    )
    result = run(
        """
        import logging, socket
        import pytest
        from django.test import SimpleTestCase, TestCase, override_settings

        def refuse(*_, **__):
            raise AssertionError("the network was touched")

        @pytest.fixture(autouse=True)
        def no_network(monkeypatch):
            monkeypatch.setattr(socket, "getaddrinfo", refuse)
            monkeypatch.setattr(socket, "create_connection", refuse)

        def test_with_the_client_of_pytest_django(client, hublog_records):
            client.get("/orders/7/")
            row = hublog_records.assert_logged(message="order 7", http_route="/orders/<int:number>/")
            assert (row["framework"], row["service_name"]) == ("django", "shop")
            hublog_records.assert_logged(record_type="request", http_status_code=200)

        @pytest.mark.django_db
        def test_with_the_database(client, hublog_records):
            client.get("/orders/8/")
            hublog_records.assert_logged(message="looked at order 8")
            hublog_records.assert_not_logged(message="order 7")

        @pytest.mark.usefixtures("hublog_records")
        class Classes(TestCase):
            @pytest.fixture(autouse=True)
            def _records(self, hublog_records):
                self.records = hublog_records

            @override_settings(EVENTHUB_LOGGING_ENABLED=False)
            def test_of_django(self):
                self.client.get("/orders/9/")
                self.records.assert_logged(message="looked at order 9")
        """,
        "-p",
        "django",
        "--ds=shop_settings",
    )
    result.assert_outcomes(passed=3)


SENDING = """
    import logging, os
    import hublog
    from hublog.runtime.shutdown import pipelines

    logging.getLogger("shop").addHandler(hublog.EventHubHandler())

    def test_it():
        [pipeline] = pipelines()
        pipeline.read()
        print("TAKES", pipeline.is_enabled)
"""
REAL = "Endpoint=sb://shop.servicebus.windows.net/;SharedAccessKeyName=n;SharedAccessKey=verysecret"
LOCAL = "Endpoint=sb://127.0.0.1:1;SharedAccessKeyName=n;SharedAccessKey=k;UseDevelopmentEmulator=true"


@pytest.mark.parametrize(
    "case",
    [(REAL, "", False), (REAL, "hublog_send = true", True), (LOCAL, "", True)],
    ids=["real", "asked for", "local"],
)
def test_what_tests_log_goes_to_no_real_hub_unless_that_is_asked_for(run, pytester, monkeypatch, case):
    connection, ini, takes = case
    monkeypatch.setenv("EVENTHUB_NAMESPACE_CONNECTION_STRING", connection)
    monkeypatch.setenv("EVENTHUB_LOG_SPOOL", "memory")
    monkeypatch.setenv("EVENTHUB_LOG_EXIT_TIMEOUT", "0")
    monkeypatch.delenv("HUBLOG_TEST_RUN", raising=False)
    pytester.makeini(f"[pytest]\n{ini}\n")
    result = run(SENDING, "-s")
    result.assert_outcomes(passed=1)
    assert f"TAKES {takes}" in result.stdout.str()
