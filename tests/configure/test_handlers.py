import json
import logging
import multiprocessing
import sys
import threading

import pytest

from hublog.configure import configure, handlers
from hublog.configure.file_log import FileLogHandler
from hublog.handler import EventHubHandler
from hublog.runtime.pipeline import NOT_CONFIGURED
from hublog.settings import EventHubSettings, FileSettings, ServiceSettings, Settings

KEY = "S3cretKeyS3cretKeyS3cretKeyS3cretKeyS3cretK="
HUB = EventHubSettings(
    connection_string=f"Endpoint=sb://127.0.0.1:1;SharedAccessKeyName=a;SharedAccessKey={KEY};UseDevelopmentEmulator=true",
    exit_timeout_seconds=0.1,
)
NO_HUB = EventHubSettings(enabled=False)

pytestmark = pytest.mark.usefixtures("logging_state")


def our_names(logger=None):
    return [
        handler.name for handler in (logger or logging.getLogger()).handlers if "hublog" in str(handler.name)
    ]


def settings(tmp_path, **kwargs):
    return Settings(**{"log_dir": tmp_path / "logs", "eventhub": NO_HUB, **kwargs})


def test_all_three_destinations_stand_on_the_root_logger(tmp_path):
    root = configure(settings(tmp_path, eventhub=HUB))
    assert root is logging.getLogger()
    assert our_names() == ["hublog_console", "hublog_file", "hublog_eventhub"]
    found = {handler.name: handler for handler in root.handlers}
    assert [found[name].level for name in our_names()] == [logging.INFO, logging.DEBUG, logging.INFO]


def test_console_and_file_take_a_record_each_by_its_level(tmp_path, capsys):
    configure(settings(tmp_path, service=ServiceSettings(name="shop")), framework="flask")
    logging.getLogger("shop.orders").debug("quiet")
    logging.getLogger("shop.orders").info("order %d", 7, extra={"order": 7})

    out = capsys.readouterr().out
    assert "INFO     shop.orders order 7\n" in out
    assert "quiet" not in out
    rows = [json.loads(line) for line in (tmp_path / "logs" / "application.log").read_text().splitlines()]
    assert [row["message"] for row in rows] == ["quiet", "order 7"]
    assert (rows[1]["service_name"], rows[1]["framework"], rows[1]["extra"]) == (
        "shop",
        "flask",
        {"order": 7},
    )


@pytest.mark.parametrize(
    ("console", "file", "hub", "expected"),
    [
        (20, 10, 20, 10),
        (20, 40, 5, 5),
        (20, None, 40, 20),
        (30, None, None, 30),
        (None, 40, None, 40),
        (None, None, 35, 35),
        (None, None, None, 20),
    ],
)
def test_the_root_level_is_the_lowest_of_the_destinations(console, file, hub, expected, tmp_path):
    made = Settings(
        level=console or 20,
        log_to_stdout=console is not None,
        log_dir=tmp_path,
        file=FileSettings(enabled=file is not None, level=file or 1),
        eventhub=EventHubSettings(
            enabled=hub is not None, level=hub or 1, connection_string=HUB.connection_string
        ),
    )
    assert configure(made).level == expected


def test_an_event_hub_without_connection_does_not_lower_the_root_level(tmp_path):
    made = settings(tmp_path, file=FileSettings(enabled=False), eventhub=EventHubSettings(level=1))
    assert configure(made).level == logging.INFO


def test_a_second_call_with_the_same_settings_changes_and_tells_nothing(tmp_path, reports):
    made = settings(tmp_path, eventhub=EventHubSettings())
    before = list(configure(made, problems=["A is 1."]).handlers)
    assert list(configure(made, problems=["A is 1."]).handlers) == before
    assert [level for level, _ in reports()] == ["ERROR", "WARNING"]


def test_other_settings_replace_our_handlers_only(tmp_path):
    root = logging.getLogger()
    foreign = logging.NullHandler()
    root.addHandler(foreign)
    others = list(root.handlers)
    configure(settings(tmp_path))
    configure(settings(tmp_path, log_to_stdout=False, level=30))
    assert our_names() == ["hublog_file"]
    assert [handler for handler in root.handlers if handler in others] == others


def test_handlers_that_were_taken_away_are_put_back(tmp_path):
    root = configure(settings(tmp_path))
    for handler in [found for found in root.handlers if "hublog" in str(found.name)]:
        root.removeHandler(handler)
        handler.close()
    configure(settings(tmp_path))
    assert our_names() == ["hublog_console", "hublog_file"]


def test_a_handler_of_ours_that_the_application_made_stays(tmp_path):
    own = EventHubHandler(settings=Settings(eventhub=HUB))
    logging.getLogger().addHandler(own)
    configure(settings(tmp_path, eventhub=HUB))
    assert own in logging.getLogger().handlers


def test_handlers_keep_their_names_for_logging_after_a_replacement(tmp_path):
    configure(settings(tmp_path))
    configure(settings(tmp_path, level=30))
    assert logging._handlers["hublog_console"] in logging.getLogger().handlers


def test_the_azure_packages_are_quiet_unless_somebody_gave_them_a_level(tmp_path):
    logging.getLogger("msal").setLevel(logging.DEBUG)
    configure(settings(tmp_path))
    assert (logging.getLogger("azure").level, logging.getLogger("msal").level) == (30, 10)


def test_without_a_connection_there_is_one_warning_on_console_and_in_the_file(tmp_path, reports, capsys):
    configure(settings(tmp_path, eventhub=EventHubSettings()))
    assert reports() == [("WARNING", NOT_CONFIGURED)]
    assert capsys.readouterr().out.count("WARNING  hublog.internal No connection") == 1
    assert (tmp_path / "logs" / "application.log").read_text().count("hublog.internal") == 1
    assert our_names() == ["hublog_console", "hublog_file"]


def test_problems_are_one_error_line_after_the_handlers_are_in_place(tmp_path, reports, capsys):
    configure(settings(tmp_path), problems=["A is 1; it must be 2.", "B is 3; it must be 4."])
    text = "Invalid settings, their defaults are used: A is 1; it must be 2. B is 3; it must be 4."
    assert reports() == [("ERROR", text)]
    assert f"ERROR    hublog.internal {text}\n" in capsys.readouterr().out
    assert (tmp_path / "logs" / "application.log").read_text().count("\n") == 1


def test_a_malformed_connection_string_is_told_once_and_not_as_missing_too(tmp_path, reports):
    problem = "EVENTHUB_NAMESPACE_CONNECTION_STRING has no SharedAccessKey; it must be ..."
    configure(settings(tmp_path, eventhub=EventHubSettings()), problems=[problem])
    assert [level for level, _ in reports()] == ["ERROR"]


def test_an_event_hub_handler_that_cannot_be_made_is_one_error_and_the_rest_goes_on(
    tmp_path, reports, monkeypatch
):
    monkeypatch.setitem(sys.modules, "hublog.handler", None)
    configure(settings(tmp_path, eventhub=HUB))
    assert reports() == [
        ("ERROR", "The Event Hub is disabled: ModuleNotFoundError. Console and file still work.")
    ]
    assert our_names() == ["hublog_console", "hublog_file"]


def test_a_directory_that_cannot_be_written_is_one_warning_and_the_rest_goes_on(tmp_path, reports, capsys):
    (tmp_path / "logs").write_text("a file", encoding="utf-8")
    configure(settings(tmp_path))
    for _ in range(3):
        logging.getLogger("shop").error("still here")
    assert [level for level, _ in reports()] == ["WARNING"]
    captured = capsys.readouterr()
    assert captured.out.count("still here") == 3
    assert captured.out.count("cannot be written") == 1
    assert captured.err == ""


def test_with_everything_off_nothing_is_written_not_even_by_the_last_resort(tmp_path, capsys):
    root = configure(settings(tmp_path, log_to_stdout=False, file=FileSettings(enabled=False)))
    assert our_names() == ["hublog_nothing"]
    for handler in [found for found in root.handlers if found.name != "hublog_nothing"]:
        root.removeHandler(handler)  # pytest's own
    logging.getLogger("shop").error("nobody wants it")
    assert capsys.readouterr() == ("", "")
    assert not (tmp_path / "logs").exists()


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_child_forked_while_another_thread_configures_can_configure(tmp_path):
    fork = multiprocessing.get_context("fork")
    with handlers._Installed.lock:
        child = fork.Process(
            target=lambda: threading.Thread(target=configure, args=(settings(tmp_path),)).start()
        )
        child.start()
        child.join(30)
    assert child.exitcode == 0
    assert (tmp_path / "logs").is_dir()


def test_no_handler_shows_a_secret(tmp_path):
    root = configure(settings(tmp_path, eventhub=HUB))
    assert KEY not in repr(root.handlers)
    assert not any(KEY in str(handler) for handler in root.handlers)


def test_a_file_handler_that_was_replaced_is_closed(tmp_path):
    configure(settings(tmp_path))
    old = next(found for found in logging.getLogger().handlers if isinstance(found, FileLogHandler))
    logging.getLogger("shop").warning("opens it")
    assert old._file._descriptor >= 0
    configure(settings(tmp_path, level=30))
    assert old._file._descriptor < 0
