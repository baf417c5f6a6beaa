"""The committed files are what the code generates, and Microsoft's own parser understands all of them."""

import json
import re
from pathlib import Path

import pytest
from tests.adx.kusto import KustoParser, answers, statements

from hublog.adx import FUNCTIONS, PARTS, QUERIES, KqlNames, columns_markdown, files, write_files
from hublog.adx.tables import IDENTIFIERS
from hublog.capture.columns import COLUMNS, SCHEMA_VERSION

ROOT = Path(__file__).parents[2]
COMMITTED = ROOT / "observability" / "adx"
#: Wrong texts, and what the parser calls the mistake.
WRONG = {
    "PipelineLogs | where lvl == 'ERROR'": "KS142",
    "PipelineLog | count": "KS204",
    "PipelineLogs | where level_number has 'high'": "KS",
    "PipelineLogs | summarize count() by extra": "KS116",
    "PipelineLogs | summarize sum(message)": "KS",
    "PipelineLogs | where count() > 1": "KS",
    "PipelineLogs | where timestamp between (ago(1h)": "KS",
    "PipelineLogs | wehre level == 'x'": "KS",
    "PipelineLogs | project nothing": "KS142",
    "PipelineLogs | extend x = strlength(message)": "KS",
    "PipelineLogs | extend missing = 1": "KS228",
    "PipelineLogsTrace()": "KS119",
    "PipelineLogsErrors(ago(1h), now()) | where http_status_code == 1": "KS142",
    ".alter table PipelineLogs policy streamingestion enable": "KS005",
    ".create-merge table X (a: varchar)": "KS",
    ".create-or-alter function F() { PipelineLogs | where nothing == 1 }": "KS142",
    ".create materialized-view V on table PipelineLogs { PipelineLogs | summarize count() by q }": "KS142",
    ".creaet table X (a: string)": "UnknownCommand",
    ".show everything": "KS005",
    "": "no statement",
}
ODD = KqlNames(table="my logs-2.x", database="prod-eu")
NAMES = {
    "blanks": ODD,
    "keywords": KqlNames(table="print", database="set"),
    "digits": KqlNames(table="_t", database="9"),
}


@pytest.fixture(scope="module")
def checked():
    """Give what the parser says of the texts of a group; it goes on to the next while a test looks at it."""
    parser = KustoParser()
    asked = {
        "committed": (parser, scripts(ROOT / "observability")),
        **{name: (KustoParser(names), generated(names)) for name, names in NAMES.items()},
        "wrong": (parser, {wrong: wrong for wrong in WRONG}),
        "calls": (parser, calls()),
        "page": (parser, commands_of_the_page()),
        "shown": (parser, queries_that_are_shown()),
    }
    with answers(asked) as answer:
        yield answer


def scripts(folder):
    """Return every statement of every KQL file below a folder, by file and number."""
    return {
        f"{path.relative_to(folder)}:{number}": statement
        for path in sorted(folder.rglob("*.kql"))
        for number, statement in enumerate(statements(path.read_text()))
    }


def problems(checked):
    return {name: found.problems for name, found in checked.items() if found.problems}


def test_the_committed_files_are_those_that_the_code_generates():
    found = {str(path.relative_to(COMMITTED)): path.read_text() for path in COMMITTED.rglob("*.*")}
    del found["dashboard.json"]  # make dashboards writes it
    assert found == files(KqlNames()), "run: make schema"


def generated(names):
    """Return every statement of the KQL files for these names, by file and number."""
    return {
        f"{file}:{number}": statement
        for file, text in files(names).items()
        if file.endswith(".kql")
        for number, statement in enumerate(statements(text))
    }


def calls():
    """Return a call of each function by its name."""
    found = {function.name: f"{function.name}(ago(1h), now())" for function in FUNCTIONS}
    return found | {"PipelineLogsTrace": 'PipelineLogsTrace("x")'}


def commands_of_the_page():
    page = (ROOT / "docs" / "table.md").read_text()
    blocks = re.findall(r"```kusto\n(.*?)```", page, re.DOTALL)
    return {
        f"{number}": text
        for number, text in enumerate(part for block in blocks for part in statements(block))
    }


def queries_that_are_shown():
    """Return the queries in pages and help texts."""
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("example_*/README.md")]
    pages += [*ROOT.glob("demo/*.py"), *ROOT.glob("src/hublog/cli/*.py")]
    pages += ROOT.glob("packages/hublog-local/src/hublog_local/*.py")
    return {
        f"{page.name}: {text}": text
        for page in pages
        for text in re.findall(r"'(PipelineLogs\w* *[|(][^'\n]*)'", page.read_text())
    }


def test_the_official_parser_accepts_every_committed_statement(checked):
    assert len(checked("committed")) > 30
    assert problems(checked("committed")) == {}


@pytest.mark.parametrize("group", NAMES)
def test_the_official_parser_accepts_them_under_other_names(checked, group):
    assert checked(group).keys() == generated(NAMES[group]).keys()
    assert problems(checked(group)) == {}
    assert not any(re.search(r"\bPipelineLogs", text) for text in generated(NAMES[group]).values())


def test_scripts_are_commands_and_queries_are_queries(checked):
    for name, found in checked("committed").items():
        assert found.kind == ("Query" if name.startswith(("adx/queries/", "adx/alarms/")) else "Command"), (
            name
        )


@pytest.mark.parametrize("wrong", WRONG)
def test_the_same_check_catches_a_wrong_text(checked, wrong):
    refused = checked("wrong")[wrong]
    assert any(WRONG[wrong] in problem for problem in refused.problems), refused


def test_the_functions_give_the_columns_that_they_promise(checked):
    found = checked("calls")
    assert problems(found) == {}
    columns = {name: [column.split(":")[0] for column in one.columns] for name, one in found.items()}
    whole = {column.name for column in COLUMNS}
    assert set(columns["PipelineLogsDedup"]) == set(columns["PipelineLogsTrace"]) == whole
    assert columns["PipelineLogsAsOTel"] == [
        "Timestamp",
        "ObservedTimestamp",
        "TraceID",
        "SpanID",
        "SeverityText",
        "SeverityNumber",
        "Body",
        "ResourceAttributes",
        "LogsAttributes",
    ]
    assert all(columns.values())


def test_the_table_that_the_command_makes_has_the_columns_of_the_schema():
    [create, *_] = statements(files(KqlNames())["table.kql"])
    made = re.findall(r"^    (\w+): (\w+),?$", create, re.MULTILINE)
    assert made == [(column.name, column.kind.value) for column in COLUMNS]


def texts_between_fences(script):
    return [json.loads(text) for text in re.findall(r"```\n(.*?)\n```", script, re.DOTALL)]


def test_the_json_inside_the_commands_is_what_adx_expects():
    # The parser takes texts as they are, so what stands in them is looked at here.
    found = files(KqlNames())
    assert texts_between_fences(found["table.kql"]) == [json.loads(found["ingestion_mapping.json"])]
    streaming, batching = texts_between_fences(found["policies.kql"])
    assert streaming == {"IsEnabled": True, "HintAllocatedRate": 2.1}
    assert batching["MaximumBatchingTimeSpan"] == "00:00:30"
    assert set(batching) == {"MaximumBatchingTimeSpan", "MaximumNumberOfItems", "MaximumRawDataSizeMB"}
    [identity] = texts_between_fences(found["roles.kql"])
    assert identity == [{"ObjectId": "system", "AllowedUsages": "DataConnection"}]


def test_the_mapping_is_created_under_the_name_that_events_refer_to():
    assert 'json mapping "my logs-2.xMapping"' in files(ODD)["table.kql"]
    assert ODD.mapping == "my logs-2.xMapping"


def test_identifier_columns_exist_and_are_text():
    kinds = {column.name: column.kind for column in COLUMNS}
    assert {kinds[name] for name in IDENTIFIERS} == {"string"}


def test_all_has_every_command_of_the_scripts():
    whole = statements(PARTS["all"](KqlNames()))
    parts = [
        statement
        for name in ("table.kql", "policies.kql", "functions.kql", "materialized_view.kql", "roles.kql")
        for statement in statements(files(KqlNames())[name])
    ]
    assert whole == parts


def test_every_query_has_its_own_file_and_says_what_it_answers():
    assert len({query.name for query in QUERIES}) == len(QUERIES)
    for query in QUERIES:
        text = files(KqlNames())[f"queries/{query.name}.kql"]
        assert text.startswith(f"// {query.summary}\n")


@pytest.mark.parametrize("bad", ["", "a'b", "a\nb", "x" * 257, " a", "a ", "tåble", 'a"b', "a]b"])
def test_a_name_that_adx_would_not_take_is_refused_with_what_is_allowed(bad):
    with pytest.raises(ValueError, match="256 letters, digits"):
        KqlNames(table=bad)
    with pytest.raises(ValueError, match="name of the database"):
        KqlNames(database=bad)


def test_the_files_are_written_where_they_are_wanted(tmp_path):
    written = write_files(tmp_path / "new" / "adx", ODD)
    assert {path.name for path in written} >= {"table.kql", "ingestion_mapping.json", "alert_lag.kql"}
    assert (tmp_path / "new" / "adx" / "table.kql").read_text() == files(ODD)["table.kql"]


def test_columns_are_only_ever_added_at_the_end():
    # Never edit schema_1.txt: a new column goes to the end of COLUMNS, with SCHEMA_VERSION raised and a
    # file for the new version beside this one.
    versions = sorted(Path(__file__).parent.glob("schema_*.txt"), key=lambda path: int(path.stem[7:]))
    assert [int(path.stem[7:]) for path in versions] == list(range(1, SCHEMA_VERSION + 1))
    now = [f"{column.name} {column.kind.value}" for column in COLUMNS]
    committed = [path.read_text().split("\n")[:-1] for path in versions]
    for older, newer in zip(committed, [*committed[1:], now], strict=True):
        assert newer[: len(older)] == older
    assert committed[-1] == now


def test_the_page_of_the_table_holds_the_generated_reference():
    assert columns_markdown() in (ROOT / "docs" / "table.md").read_text()


def test_every_command_of_the_page_passes_the_parser(checked):
    assert len(checked("page")) >= 5
    assert problems(checked("page")) == {}


def test_every_query_that_a_page_or_a_help_text_shows_passes_the_parser(checked):
    assert len(checked("shown")) >= 5
    assert problems(checked("shown")) == {}
