import dataclasses
import typing

from hublog.configure import EventHubLoggingConfig, FileLoggingConfig, LoggingConfig
from hublog.configure.setup import RedactionConfig, RequestConfig, ServiceConfig
from hublog.settings import SETTINGS, settings_table
from hublog.settings.model import SECTIONS

SHAPES = {
    "": LoggingConfig,
    "file_logging": FileLoggingConfig,
    "eventhub_logging": EventHubLoggingConfig,
    "service": ServiceConfig,
    "request": RequestConfig,
    "redaction": RedactionConfig,
}
PARTS = {"file", "eventhub", "service", "request", "redaction"}


def test_the_table_has_each_field_of_the_settings_once():
    for section, kind in SECTIONS.items():
        rows = [setting.field for setting in SETTINGS if setting.section == section]
        assert rows == [
            field.name for field in dataclasses.fields(kind) if section or field.name not in PARTS
        ]


def test_names_are_used_once():
    names = [setting.name for setting in SETTINGS]
    assert len(names) == len(set(names))


def test_every_default_is_allowed():
    for setting in SETTINGS:
        if setting.default not in ("", None):
            assert setting.kind.parse(setting.default) == setting.default


def test_the_typed_dicts_have_the_keys_of_the_yaml_file():
    for section, shape in SHAPES.items():
        keys = {setting.field for setting in SETTINGS if setting.section == section}
        parts = set() if section else set(SECTIONS) - {""}
        assert set(typing.get_type_hints(shape)) == keys | parts
        assert shape.__total__ is False


def test_the_documentation_has_a_row_for_each_setting():
    lines = settings_table().splitlines()
    assert len(lines) == len(SETTINGS) + 2
    assert {line.count(" | ") for line in lines} == {4}
    assert lines[2].startswith("| `LOG_LEVEL` | `level` | `INFO` |")
    by_name = {line.split("`")[1]: line for line in lines[2:]}
    assert "| `32 MiB` |" in by_name["EVENTHUB_LOG_QUEUE_BYTES"]
    assert "| `30.0 s` |" in by_name["EVENTHUB_LOG_CIRCUIT_COOLDOWN"]
    assert "| `<LOG_DIR>/spool` |" in by_name["EVENTHUB_LOG_SPOOL_DIR"]
    assert "| none |" in by_name["EVENTHUB_NAMESPACE_CONNECTION_STRING"]
