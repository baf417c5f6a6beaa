"""``hublog schema``: what Azure Data Explorer needs, printed or written as files."""

import json

import pytest

from hublog.adx import PARTS, KqlNames, files, ingestion_mapping
from hublog.capture.columns import COLUMNS
from hublog.cli import main


def test_columns_are_one_line_each_in_the_order_of_the_table(capsys):
    assert main(["schema", "columns"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in lines] == [
        [column.name, column.kind.value, column.group.value] for column in COLUMNS
    ]


def test_the_mapping_is_json_and_nothing_else(capsys):
    assert main(["schema", "mapping"]) == 0
    assert json.loads(capsys.readouterr().out) == ingestion_mapping()


@pytest.mark.parametrize("part", PARTS)
def test_every_part_is_printed(capsys, part):
    assert main(["schema", part]) == 0
    assert capsys.readouterr().out == PARTS[part](KqlNames())


def test_table_and_database_have_the_names_that_are_asked_for(capsys):
    assert main(["schema", "all", "--table", "ShopLogs", "--database", "logs-prod"]) == 0
    found = capsys.readouterr().out
    assert ".create-merge table ShopLogs (" in found
    assert "ShopLogsErrors(from_: datetime" in found
    assert ".add database ['logs-prod'] viewers" in found
    assert "PipelineLogs" not in found


def test_a_name_that_adx_would_refuse_is_wrong_usage(capsys):
    assert main(["schema", "table", "--table", "a'; .drop table b"]) == 2
    said = capsys.readouterr().err
    assert 'The name of the table is "a\'; .drop table b"; it must be at most 256 letters' in said


def test_all_is_written_as_files(capsys, tmp_path):
    assert main(["schema", "all", "--output", str(tmp_path / "adx")]) == 0
    written = {str(path.relative_to(tmp_path / "adx")) for path in (tmp_path / "adx").rglob("*.*")}
    assert written == set(files(KqlNames()))
    assert len(capsys.readouterr().out.splitlines()) == len(written)


def test_one_part_cannot_be_written_as_files(capsys, tmp_path):
    assert main(["schema", "table", "--output", str(tmp_path)]) == 2
    assert "use 'all'" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_one_line_and_status_1(capsys, tmp_path):
    (tmp_path / "file").write_text("")
    assert main(["schema", "all", "--output", str(tmp_path / "file")]) == 1
    assert "cannot be written" in capsys.readouterr().err


def test_an_unknown_part_is_wrong_usage_and_names_all(capsys):
    assert main(["schema", "tables"]) == 2
    said = capsys.readouterr().err
    assert all(part in said for part in PARTS)
