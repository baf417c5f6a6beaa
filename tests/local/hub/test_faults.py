import threading

import pytest

from hublog_local.errors import LocalHubError
from hublog_local.hub.faults import FaultKind, Faults, Stage


def take(faults, number, hub="logs"):
    return [faults.take(Stage.TRANSFER, hub) is not None for _ in range(number)]


def test_a_fault_happens_once_unless_it_says_how_often():
    faults = Faults()
    faults.add("drop")
    faults.add("reject", times=2)
    assert take(faults, 4) == [True, True, True, False]


def test_a_fault_for_ever_happens_until_it_is_cleared():
    faults = Faults()
    faults.add("drop", times=None)
    assert take(faults, 3) == [True] * 3
    faults.clear()
    assert take(faults, 1) == [False]


def test_a_fault_lets_some_occasions_pass():
    faults = Faults()
    fault = faults.add("drop", after=2)
    assert take(faults, 4) == [False, False, True, False]
    assert fault.fired_total == 1
    assert faults.pending() == []


def test_a_fault_of_one_hub_leaves_the_others_alone():
    faults = Faults()
    faults.add("drop", hub="other")
    assert take(faults, 1) == [False]
    assert take(faults, 1, "other") == [True]


def test_tokens_and_requests_are_meant_by_name_only():
    faults = Faults()
    faults.add("refuse-attach")
    assert faults.take(Stage.ATTACH, "$cbs") is None
    assert faults.take(Stage.ATTACH, "logs") is not None
    faults.add("refuse-attach", hub="$cbs")
    assert faults.take(Stage.ATTACH, "$cbs") is not None


def test_a_fault_can_be_waited_for():
    faults = Faults()
    fault = faults.add("drop")
    assert not fault.wait(0)
    thread = threading.Thread(target=faults.take, args=(Stage.TRANSFER, "logs"))
    thread.start()
    assert fault.wait(10)
    thread.join()


def test_conditions_of_the_service_come_with_its_text():
    faults = Faults()
    assert "4 seconds" in faults.add("reject").description
    assert faults.add("reject", condition="a:b", description="mine").description == "mine"


@pytest.mark.parametrize(
    "arguments",
    [{"kind": "explode"}, {"kind": "drop", "times": 0}, {"kind": "drop", "after": -1},
     {"kind": "delay", "seconds": -1}, {"kind": "slow", "bytes_per_s": 0}],
    ids=str,
)  # fmt: skip
def test_a_fault_that_is_not_allowed_is_refused_with_what_is(arguments):
    with pytest.raises(LocalHubError, match=r"must be one of|needs"):
        Faults().add(**arguments)


def test_every_kind_is_explained():
    assert [kind for kind in FaultKind if kind not in (FaultKind.__doc__ or "")] == []
