import json

from tests.faults import report
from tests.faults.__main__ import main
from tests.faults.expect import Mode, Seen, Verdict
from tests.faults.ledger import Ledger
from tests.faults.run import Run


def run(verdict=Verdict.OK, *, variant="", mode=Mode.MEMORY, reasons=()):
    seen = Seen(
        ledger=Ledger.of("abcd", delivered="ab", on_disk="c", dropped=1),
        after=Ledger.of("abcd", delivered="abcc", dropped=1),
        exits_s=[0.5, 1.25],
    )
    return Run(
        row="S1", mode=mode, variant=variant, verdict=verdict, seen=seen, reasons=list(reasons), seconds=2.0
    )


def test_a_line_of_the_table_sums_the_runs_of_a_row_and_mode():
    lines = report.lines_of([run(variant="a"), run(variant="b"), run(mode=Mode.ALWAYS)])
    assert [line.cells() for line in lines] == [
        ("S1", "M", "2", "8", "4", "2", "2", "2", "0", "1.25", "ok"),
        ("S1", "A", "1", "4", "2", "1", "1", "1", "0", "1.25", "ok"),
    ]


def test_the_worst_verdict_is_that_of_the_line():
    for worst in (Verdict.FAILED, Verdict.SERVER, Verdict.NOT_RUN):
        (line,) = report.lines_of([run(), run(worst)])
        assert line.verdict is worst


def test_a_row_that_was_not_run_says_why_and_counts_no_run():
    text = report.table(report.lines_of([run(Verdict.NOT_RUN, reasons=["uwsgi is not here"])]))
    assert "not run" in text
    assert "S1 M: uwsgi is not here" in text
    assert report.lines_of([run(Verdict.NOT_RUN)])[0].runs == 0


def test_the_report_is_json_with_the_columns_of_the_table(tmp_path):
    path = tmp_path / "deep" / "report.json"
    report.write(path, [run()])
    content = json.loads(path.read_text())
    assert content["rows"][0]["accepted"] == 4
    assert content["rows"][0]["verdict"] == "ok"
    assert content["runs"][0]["exits_s"] == [0.5, 1.25]


def test_an_unknown_row_is_refused(capsys, tmp_path):
    assert main(["--rows", "S1,Z9", "--report", str(tmp_path / "r.json")]) == 2
    assert "Z9" in capsys.readouterr().out
