"""The rules of redaction reach the lines of a pipeline, also when they are read anew."""

import logging

import orjson

from hublog.runtime.pipeline import Pipeline
from hublog.runtime.shared import runtime
from hublog.settings import EventHubSettings, PersonalData, RedactionSettings, Settings


def row_of(pipeline, message, **extra):
    record = logging.LogRecord("shop", logging.INFO, "shop.py", 7, message, (), None)
    record.__dict__.update(extra)
    return orjson.loads(pipeline.start().encode(record))


def test_a_pipeline_redacts_without_a_setting():
    row = row_of(Pipeline(Settings()), "password=hunter2", token="abc", client_ip="192.0.2.7")
    assert row["message"] == "password=[redacted]"
    assert row["extra"] == {"token": "[redacted]"}
    assert row["client_ip"] == "192.0.2.7"


def test_a_pipeline_redacts_as_configured():
    redaction = RedactionSettings(keys=("iban",), patterns=(r"EMP-\d+",), personal_data=PersonalData.DROP)
    row = row_of(Pipeline(Settings(redaction=redaction)), "by EMP-77, iban: DE99", client_ip="192.0.2.7")
    assert row["message"] == "by [redacted], iban: [redacted]"
    assert "client_ip" not in row


def test_a_pipeline_follows_the_framework_that_is_configured_after_it(monkeypatch):
    pipeline = Pipeline(keywords={"connection_string": EventHubSettings().connection_string})
    assert row_of(pipeline, "note=abc")["message"] == "note=abc"
    monkeypatch.setattr(runtime, "lookup", {"LOG_REDACTION_KEYS": "note"}.get)
    pipeline.read_again()
    assert row_of(pipeline, "note=abc")["message"] == "note=[redacted]"
    monkeypatch.setattr(runtime, "lookup", {"LOG_REDACTION": "false"}.get)
    pipeline.read_again()
    assert row_of(pipeline, "password=abc")["message"] == "password=abc"
