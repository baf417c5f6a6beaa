import builtins
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from hublog.settings import Settings, read_settings

DESIGN = """
logging:
  level: ${LOG_LEVEL:-INFO}
  log_to_stdout: ${LOG_TO_STDOUT:-true}
  log_dir: logs
  file_logging:
    enabled: ${FILE_LOGGING_ENABLED:-true}
    level: ${FILE_LOG_LEVEL:-DEBUG}
  eventhub_logging:
    enabled: ${EVENTHUB_LOGGING_ENABLED:-true}
    level: ${EVENTHUB_LOG_LEVEL:-INFO}
    eventhub_name: ${EVENTHUB_LOGS_NAME:-application-logs}
    batch_size: ${EVENTHUB_LOG_BATCH_SIZE:-100}
    batch_timeout_seconds: ${EVENTHUB_LOG_BATCH_TIMEOUT:-1.0}
    max_queue_size: ${EVENTHUB_LOG_QUEUE_SIZE:-10000}
    circuit_breaker_threshold: ${EVENTHUB_LOG_CIRCUIT_THRESHOLD:-5}
"""


def read(text, tmp_path, **environ):
    path = tmp_path / "config.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_settings(environ=environ, document=path)


def test_the_file_of_existing_deployments_is_read_without_a_problem(tmp_path):
    assert read(DESIGN, tmp_path) == read_settings(environ={})


def test_its_variables_are_filled_in(tmp_path):
    found = read(DESIGN, tmp_path, LOG_LEVEL="ERROR", EVENTHUB_LOG_BATCH_SIZE="5", FILE_LOGGING_ENABLED="no")
    assert found.problems == ()
    assert (found.settings.level, found.settings.eventhub.batch_size, found.settings.file.enabled) == (
        40,
        5,
        False,
    )


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("${A:-x}", "from-a"),
        ("${B:-x}", "x"),
        ("${B:-${A}}", "from-a"),
        ("pre-${A}-post", "pre-from-a-post"),
        ("$A", "$A"),
        ("a$b", "a$b"),
        ("${B:-}", ""),
        ("${C:-x}", "a: b # c"),
    ],
)
def test_only_braces_are_filled_in_and_a_variable_stays_one_text(value, expected, tmp_path):
    reading = read(f"logging:\n  service:\n    name: {value}\n", tmp_path, A="from-a", C="a: b # c", B="")
    assert (reading.settings.service.name, reading.problems) == (expected, ())


@pytest.mark.parametrize("value", ["${A", "${:-x}", "${A:?not set}"])
def test_a_malformed_expression_is_a_problem(value, tmp_path):
    reading = read(f"logging:\n  level: '{value}'\n", tmp_path)
    assert len(reading.problems) == 1
    assert reading.problems[0].startswith("logging.level cannot be expanded (")
    assert reading.settings.level == 20


def test_the_environment_is_not_changed_by_an_assigning_expression(monkeypatch, tmp_path):
    monkeypatch.delenv("HUBLOG_NEW", raising=False)
    path = tmp_path / "config.yaml"
    path.write_text("logging:\n  level: ${HUBLOG_NEW:=ERROR}\n", encoding="utf-8")
    assert read_settings(document=path).settings.level == 40
    monkeypatch.setenv("HUBLOG_NEW", "INFO")
    assert read_settings(document=path).settings.level == 20


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("- a\n- b\n", "is a list; it must be a mapping with the key logging."),
        ("just text", "is a str; it must be a mapping with the key logging."),
        ("logging: 5\n", "is 5; it must be a mapping."),
        ("loging:\n  level: INFO\n", "has the key loging; it must be logging."),
        ("logging:\n  level: [\n", "is not YAML (line 3: "),
        ("logging:\n\tlevel: INFO\n", "is not YAML (line 2: "),
        ("logging: !!python/object:os.system {}\n", "is not YAML (line 1: "),
        ("logging:\n  name: *a-secret-alias\n", "is not YAML (line 2: found undefined alias);"),
        (b"logging: \xff\xfe\n", "is not YAML ("),
        ("[" * 5_000, "is not YAML (RecursionError); correct the file."),
    ],
)
def test_a_file_of_another_form_is_one_problem(text, problem, tmp_path):
    reading = read(text, tmp_path)
    assert len(reading.problems) == 1
    assert problem in reading.problems[0]
    assert reading.settings == Settings()


@pytest.mark.parametrize("text", ["", "# nothing\n", "logging:\n", "database:\n  url: x\n", "logging: {}\n"])
def test_a_file_that_says_nothing_about_logging_gives_the_defaults(text, tmp_path):
    assert read(text, tmp_path) == read_settings(environ={})


def test_the_section_may_stand_at_the_top_of_the_file(tmp_path):
    assert read("level: ERROR\n", tmp_path).settings.level == 40


@pytest.mark.parametrize(
    ("content", "problems"),
    [
        ({"batch_size": 5}, ["has batch_size at its top, .* must be logging.eventhub_logging.batch_size."]),
        (
            {"batch_size": 5, "enabled": False},
            [
                "has batch_size at its top",
                "has enabled at its top, .* must be logging.eventhub_logging.enabled",
            ],
        ),
        ({"backup_count": 5, "database": {}}, ["must be logging.file_logging.backup_count."]),
        ({"LOG_LEVEL": "DEBUG"}, ["has LOG_LEVEL at its top, .* must be logging.level."]),
        ({"app": {"logging": {"level": "DEBUG"}}}, ["has logging below app; it must be at the top."]),
        ({"logging": {"batch_size": 5}}, ["logging.batch_size is not known; .* eventhub_logging.batch_size"]),
        ({"level": 10, "batch_size": 5}, ["logging.batch_size is not known; .* eventhub_logging.batch_size"]),
        ({"logging": {"logging": {"level": 10}}}, ["logging.logging is not known"]),
        ({"eventhub_logging": {"eventhub_logging": {}}}, ["eventhub_logging.eventhub_logging is not known"]),
        ({"name": "shop", "version": 1, "environment": "prod", "app": {"logging": True}}, []),
    ],
)
def test_a_key_on_another_level_is_a_problem_that_says_where_it_belongs(content, problems, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(json.dumps(content), encoding="utf-8")
    for document in (content, path):
        reading = read_settings(environ={}, document=document)
        assert len(reading.problems) == len(problems)
        for problem, expected in zip(reading.problems, problems, strict=True):
            assert re.search(expected, problem)
        assert reading.settings in (Settings(), Settings(level=10))


def test_a_cyclic_file_is_a_problem_and_no_endless_loop(tmp_path):
    reading = read("logging: &a\n  service: *a\n", tmp_path)
    assert reading.problems == (
        "logging.service.service is not known; known are name, namespace, version, instance_id, environment.",
    )


def test_a_missing_file_and_a_directory_are_problems(tmp_path):
    for path in (tmp_path / "none.yaml", tmp_path):
        reading = read_settings(environ={}, document=path)
        assert "cannot be read" in reading.problems[0]
        assert str(path) in reading.problems[0]


@pytest.mark.parametrize(
    ("module", "document"),
    [("yaml", Path("config.yaml")), ("expandvars", {"logging": {"level": "${A:-INFO}"}})],
)
def test_a_missing_extra_is_named_at_once(module, document, monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == module:
            raise ModuleNotFoundError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"pip install 'hublog\[yaml\]'"):
        read_settings(environ={}, document=document)


def test_reading_without_a_file_needs_no_extra():
    code = "import sys; from hublog.settings import read_settings; read_settings(); print(*sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60
    )
    assert not {"yaml", "expandvars", "azure", "flask", "django"} & set(result.stdout.split())


@pytest.mark.parametrize("depth", [10, 100, 3_000, 100_000])
def test_variables_nested_without_end_are_a_problem_and_no_error(depth):
    reading = read_settings(
        {"environment": "x"}, document={"level": "${A:-" * depth + "}" * depth}, environ={}
    )
    assert isinstance(reading.settings, Settings)
    if depth > 1_000:
        assert "cannot be expanded (it has more than 100 variables)" in " ".join(reading.problems)
