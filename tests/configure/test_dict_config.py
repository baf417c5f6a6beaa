import json
import logging
import logging.config
import re

import pytest

from hublog.configure import configure, logging_config
from hublog.settings import (
    EventHubSettings,
    FileSettings,
    Mask,
    RedactionSettings,
    ServiceSettings,
    Settings,
)

KEY = "S3cretKeyS3cretKeyS3cretKeyS3cretKeyS3cretK="
HUB = EventHubSettings(
    level=30, connection_string=f"Endpoint=sb://127.0.0.1:1;SharedAccessKeyName=a;SharedAccessKey={KEY}"
)

pytestmark = pytest.mark.usefixtures("logging_state")


def settings(tmp_path, **kwargs):
    return Settings(**{"log_dir": tmp_path / "logs", "eventhub": HUB, **kwargs})


def described():
    return [
        (type(handler), handler.name, handler.level, type(handler.formatter))
        for handler in logging.getLogger().handlers
        if "hublog" in str(handler.name)
    ]


@pytest.mark.parametrize("console", [True, False], ids=["console", "no console"])
@pytest.mark.parametrize("file", [True, False], ids=["file", "no file"])
@pytest.mark.parametrize("hub", [True, False], ids=["hub", "no hub"])
def test_dict_config_makes_what_configure_makes(console, file, hub, tmp_path):
    made = settings(
        tmp_path,
        level=15,
        log_to_stdout=console,
        file=FileSettings(enabled=file, level=12, max_bytes=5, backup_count=2),
        eventhub=EventHubSettings(enabled=hub, level=30, connection_string=HUB.connection_string),
    )
    configure(made)
    expected, level = described(), logging.getLogger().level
    logging.config.dictConfig(logging_config(made))
    assert described() == expected
    assert logging.getLogger().level == level
    assert [logging.getLogger(name).level for name in ("azure", "msal")] == [30, 30]


def test_it_is_plain_data_without_a_secret(tmp_path):
    config = logging_config(settings(tmp_path, service=ServiceSettings(name="shop")), framework="django")
    assert json.loads(json.dumps(config)) == config
    assert KEY not in repr(config)
    assert config["disable_existing_loggers"] is False
    assert config["root"] == {
        "level": "DEBUG",
        "handlers": ["hublog_console", "hublog_file", "hublog_eventhub"],
    }


def test_it_can_be_applied_twice_and_existing_loggers_stay_on(tmp_path, capsys):
    logger = logging.getLogger("shop.existing")
    config = logging_config(settings(tmp_path, eventhub=EventHubSettings(enabled=False)))
    logging.config.dictConfig(config)
    logging.config.dictConfig(config)
    logger.info("order 7")
    assert capsys.readouterr().out.count("order 7") == 1
    row = json.loads((tmp_path / "logs" / "application.log").read_text())
    assert row["message"] == "order 7"


def test_configure_after_dict_config_does_not_double_the_handlers(tmp_path):
    logging.config.dictConfig(logging_config(settings(tmp_path)))
    configure(settings(tmp_path))
    assert [name for _, name, _, _ in described()] == ["hublog_console", "hublog_file", "hublog_eventhub"]


def test_the_service_and_framework_reach_the_file(tmp_path):
    made = settings(tmp_path, eventhub=EventHubSettings(enabled=False), service=ServiceSettings(name="shop"))
    logging.config.dictConfig(logging_config(made, framework="django"))
    logging.getLogger("shop").info("order")
    row = json.loads((tmp_path / "logs" / "application.log").read_text())
    assert (row["service_name"], row["framework"]) == ("shop", "django")


def test_a_directory_that_cannot_be_written_does_not_stop_dict_config(tmp_path, capsys):
    (tmp_path / "logs").write_text("a file", encoding="utf-8")
    logging.config.dictConfig(logging_config(settings(tmp_path, eventhub=EventHubSettings(enabled=False))))
    logging.getLogger("shop").error("first")
    logging.getLogger("shop").error("second")
    captured = capsys.readouterr()
    assert captured.out.count("cannot be written") == 1
    assert captured.out.count("ERROR    shop") == 2
    assert captured.err == ""


def test_a_level_that_the_application_chose_for_azure_is_not_in_it(tmp_path):
    logging.getLogger("azure").setLevel(logging.DEBUG)
    assert logging_config(settings(tmp_path))["loggers"] == {"msal": {"level": "WARNING"}}


def test_console_and_file_redact_as_told_and_the_key_is_not_in_the_data(tmp_path, capsys):
    redaction = RedactionSettings(mode=Mask.HASH, hash_key="the-key", keys=("iban",))
    settings = Settings(log_dir=tmp_path, redaction=redaction, eventhub=EventHubSettings(enabled=False))
    made = json.loads(json.dumps(logging_config(settings)))
    assert "the-key" not in str(made)
    logging.config.dictConfig(made)
    logging.getLogger("shop").warning("paid by iban=DE99")
    by_dict = capsys.readouterr().out
    configure(settings)
    logging.getLogger("shop").warning("paid by iban=DE99")
    by_code = capsys.readouterr().out
    hashed = re.search(r"iban=\[redacted:[0-9a-f]{16}\]", by_dict)[0]
    assert hashed in by_code
    lines = (tmp_path / "application.log").read_text().splitlines()
    assert [hashed in line for line in lines] == [True, True]


def test_without_redaction_console_and_file_show_all(tmp_path, capsys):
    settings = Settings(log_dir=tmp_path, redaction=RedactionSettings(enabled=False))
    logging.config.dictConfig(logging_config(settings))
    logging.getLogger("shop").warning("password=hunter2")
    assert "hunter2" in capsys.readouterr().out
    assert "hunter2" in (tmp_path / "application.log").read_text()
