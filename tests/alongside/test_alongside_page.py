"""What docs/alongside.md says can be copied."""

import json
import logging
import logging.config

import pytest
import structlog
from loguru import logger as loguru
from tests.alongside.documents import PAGE, block

import hublog


@pytest.fixture(autouse=True)
def _as_before(monkeypatch, tmp_path, fields):
    monkeypatch.setenv("EVENTHUB_FULLY_QUALIFIED_NAMESPACE", "shop.servicebus.windows.net")
    monkeypatch.setenv("EVENTHUB_LOG_BATCH_TIMEOUT", "0.05")
    monkeypatch.setenv("EVENTHUB_LOG_SPOOL", "memory")
    monkeypatch.chdir(tmp_path)
    kind = logging.getLoggerClass()
    yield
    structlog.reset_defaults()
    logging.setLoggerClass(kind)
    loguru.remove()


@pytest.mark.parametrize("holding", ["structlog.configure", "loguru import logger"])
def test_the_lines_for_structlog_and_loguru_ship_an_order(holding, hub):
    exec(block("python", holding), {"__name__": "shop"})
    row = hub.row()
    assert (row["message"].startswith("order "), row["tenant_id"]) == (True, "acme")
    assert row["extra"]["order"] == 7


def test_the_configuration_with_our_formatters_can_be_applied(hub, capsys, tmp_path):
    logging.config.dictConfig(json.loads(block("json", "rename_fields")))
    logging.getLogger("shop").info("order %d", 7)
    row = json.loads((tmp_path / "shop.log").read_text())
    assert (row["msg"], row["team"], row["service_name"]) == ("order 7", "shop", "shop")
    assert "order 7" in capsys.readouterr().out
    assert hub.row()["message"] == "order 7"


def test_the_configuration_for_django_can_be_changed_before_it_is_applied(hub, tmp_path):
    import hublog.django

    names = {"hublog": hublog, "LOG_DIR": str(tmp_path), "LOG_TO_STDOUT": False}
    exec(block("python", "hublog_json"), names)
    logging.config.dictConfig(json.loads(json.dumps(names["LOGGING"])))
    logging.getLogger("shop").info("order %d", 7)
    row = json.loads((tmp_path / "application.log").read_text())
    assert (row["message"], row["team"], row["framework"]) == ("order 7", "shop", "django")
    assert hub.row()["message"] == "order 7"


def test_all_blocks_of_code_are_run_by_some_test():
    known = ("structlog.configure", "loguru import logger", "gunicorn.conf.py")
    known += ("rename_fields", '"uvicorn": {', "hublog_json")
    text = PAGE.read_text()
    assert text.count("```") == 2 * len(known)
    assert all(holding in text for holding in known)


def test_the_names_of_the_page_are_public():
    for name in ("EventHubHandler", "JsonFormatter", "ConsoleFormatter", "ConsoleHandler", "bind", "stats"):
        assert name in hublog.__all__
