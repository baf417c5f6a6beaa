from pathlib import Path

import noxfile

ROOT = Path(__file__).resolve().parents[2]


def session(name, result="success", reason=None):
    return {"signatures": [name], "result": result, "reason": reason}


def test_the_table_says_of_each_cell_what_became_of_it():
    sessions = [
        session("django(3.11-5.2)"),
        session("django(3.12-5.2)", "failed"),
        session("django(3.13-6.1)", "aborted"),
        session("flask(3.12-3.0)", "skipped", "Python interpreter 3.12 not found."),
    ]
    assert noxfile.table(sessions) == [
        "",
        "            Python 3.11    Python 3.12    Python 3.13",
        "Django 5.2  passed         FAILED         -",
        "Django 6.0  needs 3.12     -              -",
        "Django 6.1  needs 3.12     -              FAILED",
        "Flask 3.0   -              not run        -",
        "Flask 3.1   -              -              -",
        "flask(3.12-3.0) was not run: Python interpreter 3.12 not found.",
    ]


def test_the_page_of_the_versions_shows_the_cells_that_are_run():
    page = (ROOT / "docs" / "versions.md").read_text()
    for framework, several in noxfile.SERIES.items():
        for series in several:
            possible = noxfile.pythons_of(framework, series)
            cells = [
                "tested" if python in possible else f"needs Python {possible[0]}"
                for python in noxfile.PYTHONS
            ]
            assert f"| {framework.title()} {series} | {' | '.join(cells)} |\n" in page


def test_the_lock_pins_all_but_the_framework_and_without_hashes():
    lock = (ROOT / "requirements.lock").read_text()
    pins = noxfile.pins(lock, without="django").splitlines()
    names = {pin.partition("==")[0] for pin in pins}
    locked = {line.partition("==")[0].partition("[")[0] for line in lock.splitlines() if line[:1].isalpha()}
    assert names == locked - {"django"}
    assert not any("hash" in pin or "\\" in pin or "[" in pin for pin in pins)


def test_a_pin_keeps_its_condition():
    lock = """\
pyjwt[crypto]==2.15.1 \\
    --hash=sha256:00
msgpack==1.2.4 ; platform_python_implementation == 'CPython' \\
    --hash=sha256:11
"""
    assert noxfile.pins(lock, without="django").splitlines() == [
        "pyjwt==2.15.1",
        "msgpack==1.2.4 ; platform_python_implementation == 'CPython'",
    ]
