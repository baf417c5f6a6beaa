import pytest
from tests.faults.expect import Cost, Expect, Mode, Seen, Verdict, judge
from tests.faults.ledger import Ledger
from tests.faults.run import settle

IDS = [f"id{number}" for number in range(10)]
GOOD = {"delivered": IDS}


def seen(*, after=None, reported=0, **ledger):
    return Seen(
        ledger=Ledger.of(IDS, **{**GOOD, **ledger}),
        after=None if after is None else Ledger.of(IDS, **after),
        reported=reported,
    )


def complaints(found, expect=Expect(), mode=Mode.OVERFLOW, **options):  # noqa: B008  # a frozen value
    return judge(found, expect, mode, slack_s=1.0, **options)


def test_a_ledger_that_closes_is_ok():
    assert complaints(seen()) == []
    assert complaints(seen(delivered=IDS[:4], on_disk=IDS[4:], after=GOOD)) == []


@pytest.mark.parametrize(
    ("doctored", "word"),
    [
        ({"delivered": IDS[1:]}, "missing"),
        ({"delivered": [*IDS, "id3"]}, "duplicates"),
        ({"dropped": 1, "reported": 1}, "not lost"),
        ({"delivered": IDS[1:], "dropped": 1, "reported": 1}, "allowed are 0"),
        ({"delivered": IDS[1:], "dropped": 1}, "only 0 were told"),
        ({"delivered": [*IDS, "stranger"]}, "nobody accepted"),
        ({"delivered": IDS[1:], "on_disk": IDS[:1], "after": {"delivered": IDS[1:]}}, "after the restart"),
        (
            {"delivered": IDS[1:], "on_disk": IDS[:1], "after": {"delivered": IDS[1:], "on_disk": IDS[:1]}},
            "stayed on disk",
        ),
    ],
    ids=["lost", "twice", "overcounted", "dropped", "not told", "invented", "lost later", "never sent"],
)
def test_a_doctored_ledger_fails(doctored, word):
    assert any(word in complaint for complaint in complaints(seen(**doctored)))


def test_what_a_row_allows_is_no_complaint():
    expect = Expect(missing=1, dropped=None, duplicates=2)
    assert complaints(seen(delivered=[*IDS[2:], "id5", "id5"], dropped=1, reported=1), expect) == []


def test_a_segment_of_a_dead_process_fails():
    found = seen(after=GOOD)
    found.left = 1
    assert complaints(found)
    assert complaints(found, Expect(is_drained=False)) == []


def test_an_exit_beyond_its_budget_fails():
    found = seen()
    found.exits_s = [2.0, 4.1]
    assert complaints(found, Expect(exit_s=3.0)) == ["an exit took 4.1 s, allowed is 4.0 s"]


def test_a_traceback_of_the_package_fails():
    found = seen()
    found.tracebacks = ["ValueError in hublog/pipeline.py"]
    assert complaints(found)


def test_a_log_call_that_waits_for_the_network_fails():
    found = seen()
    found.costs = [Cost(calls=1_000, p99_us=80, max_us=16_000_000, start_kib=0, peak_kib=0)]
    assert complaints(found) == ["a log call took 16000 ms"]


def test_a_strict_run_holds_log_calls_to_the_figures_of_the_matrix():
    found = seen()
    found.costs = [Cost(calls=1_000, p99_us=1_500, max_us=60_000, start_kib=0, peak_kib=0)]
    assert complaints(found) == []
    assert len(complaints(found, is_strict=True)) == 2
    assert len(complaints(found, mode=Mode.ALWAYS, is_strict=True)) == 1


def test_memory_beyond_the_queue_fails_unless_the_application_takes_it_without_us():
    found = seen()
    found.costs = [Cost(calls=1, p99_us=1, max_us=1, start_kib=20 << 10, peak_kib=120 << 10)]
    assert complaints(found) == ["memory grew by 100 MiB, allowed are 64 MiB"]
    assert complaints(found, Expect(memory_kib=None)) == []
    found.base_peak_kib = 70 << 10
    assert complaints(found) == []


def test_a_run_that_fails_without_the_handler_too_is_the_servers():
    hanging = Seen(complaints=["stuck"])
    assert settle(["stuck"], hanging) is Verdict.SERVER
    assert settle(["missing"], Seen()) is Verdict.FAILED
    assert settle([], hanging) is Verdict.OK
