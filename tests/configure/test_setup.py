import json
import logging

import pytest

from hublog.configure import prepare_eventhub_logging_config, setup_logging, setup_multi_worker_logging
from hublog.errors import SettingsError
from hublog.settings import SETTINGS, read_settings

KEY = "S3cretKeyS3cretKeyS3cretKeyS3cretKeyS3cretK="
CONNECTION = (
    f"Endpoint=sb://127.0.0.1:1;SharedAccessKeyName=a;SharedAccessKey={KEY};UseDevelopmentEmulator=true"
)

pytestmark = pytest.mark.usefixtures("logging_state")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch, tmp_path):
    for setting in SETTINGS:
        monkeypatch.delenv(setting.name, raising=False)
    monkeypatch.setenv("LOG_DIR", str(tmp_path / "logs"))
    monkeypatch.setenv("EVENTHUB_LOG_EXIT_TIMEOUT", "0.1")


def our_names(logger=None):
    return [
        handler.name for handler in (logger or logging.getLogger()).handlers if "hublog" in str(handler.name)
    ]


def messages(path):
    return [json.loads(line)["message"] for line in path.read_text().splitlines()]


def test_without_arguments_the_environment_is_read(monkeypatch, tmp_path):
    monkeypatch.setenv("FILE_LOGGING_ENABLED", "false")
    monkeypatch.setenv("LOG_LEVEL", "ERROR")
    monkeypatch.setenv("EVENTHUB_LOGGING_ENABLED", "no")
    assert setup_logging().level == logging.ERROR
    assert our_names() == ["hublog_console"]


def test_arguments_win_over_the_environment_and_it_over_the_file(monkeypatch, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(
        "logging:\n  level: ${LOG_LEVEL:-CRITICAL}\n  log_to_stdout: true\n"
        "  file_logging: {enabled: false}\n  eventhub_logging: {level: CRITICAL, enabled: true}\n",
        encoding="utf-8",
    )
    monkeypatch.setenv("EVENTHUB_NAMESPACE_CONNECTION_STRING", CONNECTION)
    monkeypatch.setenv("LOG_LEVEL", "ERROR")
    assert setup_logging(path).level == logging.ERROR
    assert setup_logging(str(path), log_level="WARNING").level == logging.WARNING
    assert setup_logging(path, eventhub_config={"level": 5}).level == 5
    assert setup_logging(path, log_to_stdout=False).level == logging.CRITICAL


def test_the_content_of_the_file_may_be_given_with_or_without_its_root():
    inner = {"level": "ERROR", "file_logging": {"enabled": False}, "eventhub_logging": {"enabled": False}}
    assert setup_logging(inner).level == logging.ERROR
    assert setup_logging({"logging": {**inner, "level": "WARNING"}}).level == logging.WARNING


@pytest.mark.parametrize("variable", ["true", "false"])
@pytest.mark.parametrize("argument", [True, False])
def test_the_switch_in_code_turns_off_and_leaves_turning_on_to_the_variable(variable, argument, monkeypatch):
    monkeypatch.setenv("FILE_LOGGING_ENABLED", variable)
    monkeypatch.setenv("EVENTHUB_LOGGING_ENABLED", variable)
    monkeypatch.setenv("EVENTHUB_NAMESPACE_CONNECTION_STRING", CONNECTION)
    setup_logging(enable_file_logging=argument, enable_eventhub_logging=argument)
    is_on = argument and variable == "true"
    assert our_names() == ["hublog_console", *(["hublog_file", "hublog_eventhub"] if is_on else [])]


def test_invalid_variables_are_one_error_line_and_take_their_defaults(monkeypatch, reports):
    monkeypatch.setenv("LOG_LEVEL", "LOUD")
    monkeypatch.setenv("EVENTHUB_LOG_BATCH_SIZE", "0")
    monkeypatch.setenv("EVENTHUB_LOGGING_ENABLED", "false")
    setup_logging()
    assert [level for level, _ in reports()] == ["ERROR"]
    assert "LOG_LEVEL is LOUD" in reports()[0][1]
    assert "EVENTHUB_LOG_BATCH_SIZE is 0" in reports()[0][1]


def test_a_missing_file_is_an_error_line_and_the_application_starts(reports, tmp_path):
    setup_logging(tmp_path / "none.yaml", enable_eventhub_logging=False)
    assert [(level, "none.yaml' cannot be read" in text) for level, text in reports()] == [("ERROR", True)]
    assert our_names() == ["hublog_console", "hublog_file"]


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"log_level": "LOUD"}, SettingsError, "The argument log_level is LOUD; it must be DEBUG,"),
        ({"log_level": []}, SettingsError, "The argument log_level is "),
        ({"log_to_stdout": "maybe"}, SettingsError, "The argument log_to_stdout is maybe; it must be true,"),
        ({"log_dir": 5}, SettingsError, "The argument log_dir is 5; it must be the path of a directory"),
        (
            {"eventhub_config": {"batch_size": 0, "level": "x"}},
            SettingsError,
            "The argument eventhub_config.level is x.* The argument eventhub_config.batch_size is 0",
        ),
        (
            {"eventhub_config": {"batchsize": 1}},
            SettingsError,
            "eventhub_config.batchsize is not known; did you mean",
        ),
        ({"eventhub_config": [1]}, TypeError, "eventhub_config is a list; it must be a mapping"),
        (
            {"enable_file_logging": "false"},
            TypeError,
            "enable_file_logging is 'false'; it must be True or False",
        ),
        ({"enable_eventhub_logging": None}, TypeError, "enable_eventhub_logging is None"),
        ({"config": 5}, TypeError, "must be a path or a mapping, not int"),
        ({"log_levle": "INFO"}, TypeError, "unexpected keyword argument"),
    ],
    ids=str,
)
def test_a_wrong_argument_raises_at_once_and_changes_nothing(arguments, error, text):
    before = list(logging.getLogger().handlers)
    with pytest.raises(error, match=text):
        setup_logging(**arguments)
    with pytest.raises(error, match=text):
        setup_multi_worker_logging(["web-1"], **arguments)
    assert logging.getLogger().handlers == before


def test_a_wrong_connection_string_in_code_raises_without_showing_it():
    with pytest.raises(SettingsError, match="has no SharedAccessKeyName") as caught:
        setup_logging(eventhub_config={"connection_string": f"Endpoint=sb://a/;SharedAccessKey={KEY}"})
    assert KEY not in str(caught.value) + repr(caught.value)


def test_each_worker_has_a_file_and_all_share_console_and_event_hub(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("EVENTHUB_NAMESPACE_CONNECTION_STRING", CONNECTION)
    monkeypatch.setenv("EVENTHUB_LOG_LEVEL", "CRITICAL")  # nothing is to be sent here
    loggers = setup_multi_worker_logging(["web-1", "web-2"])
    assert list(loggers) == ["web-1", "web-2"]
    assert loggers["web-1"] is logging.getLogger("web-1")
    loggers["web-1"].debug("of one")
    loggers["web-2"].info("of two")
    logging.getLogger("shop").info("of the application")

    logs = tmp_path / "logs"
    assert messages(logs / "application-web-1.log") == ["of one"]
    assert messages(logs / "application-web-2.log") == ["of two"]
    assert messages(logs / "application.log") == ["of the application"]
    out = capsys.readouterr().out
    assert "INFO     web-2 of two\n" in out
    assert "of one" not in out
    assert our_names() == ["hublog_console", "hublog_file", "hublog_eventhub"]
    assert [our_names(logger) for logger in loggers.values()] == [
        ["hublog_file_web-1"],
        ["hublog_file_web-2"],
    ]


def test_loggers_below_a_worker_write_to_its_file_only(tmp_path):
    setup_multi_worker_logging(["web-1"], enable_eventhub_logging=False)
    logging.getLogger("web-1.orders").info("order")
    assert messages(tmp_path / "logs" / "application-web-1.log") == ["order"]
    assert not (tmp_path / "logs" / "application.log").exists()


def test_a_later_set_up_takes_the_workers_files_away(tmp_path):
    loggers = setup_multi_worker_logging(["web-1", "web-2"], enable_eventhub_logging=False)
    setup_multi_worker_logging(["web-2"], enable_eventhub_logging=False)
    assert [our_names(logger) for logger in loggers.values()] == [[], ["hublog_file_web-2"]]
    setup_logging(enable_eventhub_logging=False)
    assert [our_names(logger) for logger in loggers.values()] == [[], []]


def test_without_the_file_destination_workers_have_no_files(tmp_path):
    loggers = setup_multi_worker_logging(["web-1"], enable_file_logging=False, enable_eventhub_logging=False)
    assert our_names(loggers["web-1"]) == []
    assert not (tmp_path / "logs").exists()


def test_one_warning_tells_of_a_directory_that_no_worker_can_write(tmp_path, reports):
    (tmp_path / "logs").write_text("a file", encoding="utf-8")
    loggers = setup_multi_worker_logging(["web-1", "web-2"], enable_eventhub_logging=False)
    for logger in loggers.values():
        logger.info("goes to the console")
    assert [level for level, _ in reports()] == ["WARNING"]


@pytest.mark.parametrize(
    "name",
    [
        "",
        "../web",
        "a/b",
        "a\\b",
        "a.b",
        "..",
        "/etc/passwd",
        "a b",
        "a\0",
        "a\n",
        "-a",
        "x" * 65,
        "ü",
        "root",
        "Azure",
        5,
    ],
    ids=repr,
)
def test_a_worker_name_that_is_no_plain_name_raises(name):
    with pytest.raises(SettingsError, match="The worker name"):
        setup_multi_worker_logging(["web-1", name])


@pytest.mark.parametrize(
    ("workers", "error"),
    [
        ([], SettingsError),
        (["a", "A"], SettingsError),
        ("web-1", TypeError),
        (None, TypeError),
        (5, TypeError),
    ],
    ids=repr,
)
def test_a_list_of_workers_that_is_none_raises(workers, error):
    with pytest.raises(error):
        setup_multi_worker_logging(workers)


def test_the_prepared_event_hub_config_is_plain_and_holds_no_secret(monkeypatch):
    monkeypatch.setenv("EVENTHUB_NAMESPACE_CONNECTION_STRING", CONNECTION)
    monkeypatch.setenv("EVENTHUB_LOG_BATCH_SIZE", "7")
    monkeypatch.setenv("EVENTHUB_LOG_SPOOL_DIR", "/var/spool")
    found = prepare_eventhub_logging_config()
    assert KEY not in json.dumps(found)
    assert (found["enabled"], found["level"], found["eventhub_name"]) == (True, "INFO", "application-logs")
    assert (found["batch_size"], found["packing"], found["spool_dir"]) == (7, "lines", "/var/spool")


def test_the_prepared_config_means_the_same_as_what_it_was_made_from(monkeypatch):
    monkeypatch.setenv("EVENTHUB_NAMESPACE_CONNECTION_STRING", f"{CONNECTION};EntityPath=orders")
    monkeypatch.setenv("EVENTHUB_LOG_QUEUE_BYTES", "1MiB")
    found = prepare_eventhub_logging_config({"logging": {"eventhub_logging": {"packing": "gzip"}}})
    reading = read_settings({"eventhub_logging": found})
    assert reading.problems == ()
    assert reading.settings == read_settings(document={"eventhub_logging": {"packing": "gzip"}}).settings


def test_what_is_invalid_is_not_prepared_so_that_it_is_told(monkeypatch, reports):
    monkeypatch.setenv("EVENTHUB_LOG_BATCH_SIZE", "0")
    found = prepare_eventhub_logging_config()
    assert "batch_size" not in found
    setup_logging(eventhub_config=found, enable_eventhub_logging=False)
    assert ["EVENTHUB_LOG_BATCH_SIZE is 0" in text for _, text in reports()] == [True]


@pytest.mark.parametrize(
    ("config", "named"),
    [({"batch_size": 5}, "batch_size at its top"), ({"eventhub_logging": {"batchsize": 5}}, "batchsize")],
    ids=["one level off", "misspelt"],
)
def test_what_has_no_effect_in_a_configuration_is_reported_by_each_function(config, named, reports):
    for function in (prepare_eventhub_logging_config, lambda given: setup_logging({**given})):
        before = len(reports())
        function(config)
        errors = [text for level, text in reports()[before:] if level == "ERROR"]
        assert len(errors) == 1
        assert named in errors[0]


def test_what_is_invalid_in_the_environment_is_left_to_the_set_up_to_report(monkeypatch, reports):
    monkeypatch.setenv("EVENTHUB_LOG_BATCH_SIZE", "0")
    assert "batch_size" not in prepare_eventhub_logging_config()
    assert reports() == []
