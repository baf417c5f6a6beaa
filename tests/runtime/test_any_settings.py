"""Operations and changes of settings in any order: nothing that was accepted is missing, or counted twice."""

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from tests.kits.changing_app import LIMIT_S, MODES, ChangingApp

HUBS = ("first", "second", "third")
DIRECTORIES = ("former", "later", "last")
CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "EVENTHUB_LOG_SPOOL": st.sampled_from(MODES),
        "EVENTHUB_LOG_SPOOL_DIR": st.sampled_from(DIRECTORIES),
        "EVENTHUB_LOGS_NAME": st.sampled_from(HUBS),
        "EVENTHUB_LOG_LEVEL": st.sampled_from(["DEBUG", "INFO", "ERROR"]),
        "EVENTHUB_LOG_PACKING": st.sampled_from(["single", "lines", "gzip"]),
        "EVENTHUB_LOG_ROUTE_TABLE": st.sampled_from(["Early", "Late"]),
        "EVENTHUB_LOG_BATCH_SIZE": st.sampled_from(["1", "7"]),
        "EVENTHUB_LOG_DEDUP_SECONDS": st.sampled_from(["0", "60"]),
    },
)


class AnySettings(RuleBasedStateMachine):
    """One application; ``mode`` is where its records wait at the beginning."""

    mode = "memory"

    def __init__(self):
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.path = Path(tempfile.mkdtemp())
        self.app = ChangingApp(self.patch, self.path)
        self.app.set(EVENTHUB_LOG_SPOOL=self.mode)
        self.hub = "first"
        self.meant_for = {}  # messages by event hub
        for name in HUBS:
            self.app.hub(name)

    @rule(changes=CHANGES)
    def the_framework_hands_over_settings(self, changes):
        if "EVENTHUB_LOG_SPOOL_DIR" in changes:
            changes = {
                **changes,
                "EVENTHUB_LOG_SPOOL_DIR": str(self.path / changes["EVENTHUB_LOG_SPOOL_DIR"]),
            }
        self.hub = changes.get("EVENTHUB_LOGS_NAME", "first")
        self.app.change(**changes)

    @rule(count=st.integers(1, 12))
    def logs(self, count):
        before = len(self.app.wanted)
        self.app.log(f"part-{before}", count)
        self.meant_for.setdefault(self.hub, []).extend(self.app.wanted[before:])

    @rule(name=st.sampled_from(HUBS))
    def a_hub_is_unavailable(self, name):
        self.app.hub(name).is_away = True

    @rule(name=st.sampled_from(HUBS))
    def a_hub_is_available(self, name):
        self.app.hub(name).is_away = False

    @rule(timeout_s=st.sampled_from([0.0, 0.05]))
    def flushes(self, timeout_s):
        if self.app.pipeline.flush(timeout_s):
            self.all_has_arrived()

    @rule()
    def writes_to_disk(self):
        for process in self.app.pipeline.processes():
            process.secure()

    @rule()
    def retires(self):
        self.app.pipeline.retire()

    @invariant()
    def the_accounting_balances(self):
        self.app.check_accounting()

    def all_has_arrived(self):
        for name in HUBS:
            assert sorted(set(self.app.arrived(name))) == sorted(self.meant_for.get(name, []))

    def teardown(self):
        try:
            for name in HUBS:
                self.app.hub(name).is_away = False
            assert self.app.pipeline.flush(LIMIT_S)
            self.all_has_arrived()
            stats = self.app.check_accounting()
            assert (stats.sent_total, stats.held) == (len(self.app.wanted), 0)
        finally:
            self.app.end()
            self.patch.undo()
            shutil.rmtree(self.path)


def machine(mode):
    case = type(f"AnySettings_{mode}", (AnySettings,), {"mode": mode}).TestCase
    case.settings = hypothesis_settings(max_examples=40, stateful_step_count=30, deadline=None)
    return case


TestInMemory, TestOverflow, TestAlways = map(machine, MODES)
