"""``docs/spool.md`` says what the code does."""

import re
from pathlib import Path

from tests.kits.spools import leave
from tests.spool.independent import A, envelope, frame, make_lines, make_segment

from hublog.cli import main
from hublog.cli.spool_inspection import inspect_directory
from hublog.cli.spool_report import FindingKind

PAGE = (Path(__file__).parent.parent.parent / "docs" / "spool.md").read_text()


def test_the_reader_of_the_page_reads_what_waits(root):
    [source] = [part.split("```")[0] for part in PAGE.split("```python\n")[1:]]
    names = {}
    exec(source, names)
    lines = make_lines(9)
    path = leave(
        root,
        A,
        make_segment(lines[:3]),
        make_segment(lines[3:6]),
        make_segment(lines[6:]) + b"torn",
        cursor=(2, len(make_segment(lines[3:4]))),
    )
    assert names["waiting"](path) == lines[4:]


def test_the_reader_of_the_page_reads_segments_that_name_their_destination(root):
    [source] = [part.split("```")[0] for part in PAGE.split("```python\n")[1:]]
    names = {}
    exec(source, names)
    lines, shop = make_lines(6), envelope("shop-logs")
    path = leave(
        root,
        A,
        make_segment(lines[:3], envelope=shop),
        make_segment(lines[3:], envelope=shop),
        cursor=(1, len(make_segment(lines[:1], envelope=shop))),
        envelope=shop,
    )
    assert names["waiting"](path) == lines[1:]


def test_the_bytes_of_the_page_are_those_of_a_segment(root):
    rows = re.findall(r"^[0-9a-f]{8}  ((?:[0-9a-f]{2} +)+) \|", PAGE, re.MULTILINE)
    data = bytes.fromhex("".join(rows))
    text = b'["shop.servicebus.windows.net","shop-logs","gzip",{}]'
    assert data == make_segment([b'{"message":"hello"}'], envelope=frame(text))
    found = inspect_directory(leave(root, A, data))
    assert (found.waiting, found.damaged) == (1, 0)


def test_the_page_names_every_kind_of_finding_and_every_option(capsys):
    assert {kind for kind in FindingKind if f"`{kind}`" not in PAGE} == set()
    for tool in ("list", "verify", "drain", "purge"):
        assert f"### hublog spool {tool}" in PAGE
        assert main(["spool", tool, "--help"]) == 0
        for option in re.findall(r"--[a-z-]+", capsys.readouterr().out):
            assert option == "--help" or option in PAGE
