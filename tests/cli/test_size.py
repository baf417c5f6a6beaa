"""``hublog size``: the formulas are properties, the page is what the command prints."""

import io
import json
import math
import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hublog.cli import Caller, main
from hublog.cli.prices import Load, bill
from hublog.cli.size import (
    CALLER_US,
    STREAMING_GB_MAX,
    Demand,
    cpu_us,
    load_of,
    probe_s,
    sized,
    spool_bytes,
    to_set,
)
from hublog.delivery.circuit_breaker import CircuitBreaker
from hublog.line import SENT_AT_BYTES
from hublog.settings import SETTINGS, EventHubSettings, Packing, SpoolMode, read_settings
from hublog.spool.segments import encode

ROOT = Path(__file__).parents[2]
DEFAULTS = EventHubSettings()
ASKED = ["--records-per-second", "5000", "--bytes", "600"]
PRICES = {"unit_hour": 0.03, "million_events": 0.028}

rates = st.floats(0.001, 1e7)
sizes = st.floats(100, 1e6)
packings = st.sampled_from(Packing)
demands = st.builds(
    Demand,
    rate=rates,
    record_bytes=sizes,
    outage_s=st.floats(0, 86_400),
    instances=st.integers(1, 100),
    processes=st.integers(1, 32),
)
more = st.floats(1, 100)


def run(*arguments, environ=None):
    """Return the exit status and what was printed, with the settings of this environment only."""
    out, err = io.StringIO(), io.StringIO()
    caller = Caller(out=out, err=err, lookup=(environ or {}).get)
    return main(["size", *arguments], caller=caller), out.getvalue(), err.getvalue()


def as_json(*arguments, environ=None):
    status, out, err = run(*arguments, "--json", environ=environ)
    assert (status, err) == (0, "")
    return json.loads(out)


# The formulas


@given(demands, packings, more)
def test_a_higher_rate_never_needs_less(demand, packing, factor):
    higher = replace(demand, rate=demand.rate * factor)
    before, after = load_of(demand, packing, DEFAULTS), load_of(higher, packing, DEFAULTS)
    assert after.events_per_s >= before.events_per_s * 0.999999
    assert after.bytes_per_s >= before.bytes_per_s * 0.999999
    assert spool_bytes(higher, DEFAULTS) >= spool_bytes(demand, DEFAULTS)
    assert bill(after, **PRICES).units >= bill(before, **PRICES).units
    assert after.read_units >= before.read_units


@given(demands, packings, more)
def test_larger_records_never_need_less(demand, packing, factor):
    larger = replace(demand, record_bytes=demand.record_bytes * factor)
    before, after = load_of(demand, packing, DEFAULTS), load_of(larger, packing, DEFAULTS)
    assert after.bytes_per_s >= before.bytes_per_s * 0.999999
    assert cpu_us(larger.record_bytes, packing) >= cpu_us(demand.record_bytes, packing)
    assert spool_bytes(larger, DEFAULTS) >= spool_bytes(demand, DEFAULTS)


@given(demands)
def test_packing_never_makes_more_events_or_more_bytes_than_single(demand):
    single, lines, packed = (load_of(demand, packing, DEFAULTS) for packing in Packing)
    assert packed.events_per_s == lines.events_per_s <= single.events_per_s * 1.000001
    # One short record alone may grow.
    assert packed.bytes_per_s <= lines.bytes_per_s * 1.1
    assert lines.bytes_per_s <= single.bytes_per_s * 1.00001


@given(demands)
def test_single_is_an_event_for_each_record(demand):
    assert load_of(demand, Packing.SINGLE, DEFAULTS).events_per_s == pytest.approx(demand.rate)


@given(demands, st.floats(0, 86_400))
def test_a_longer_outage_needs_more_disk_and_a_second_instance_halves_it(demand, longer_s):
    longer = replace(demand, outage_s=demand.outage_s + longer_s)
    assert spool_bytes(longer, DEFAULTS) >= spool_bytes(demand, DEFAULTS)
    two = replace(demand, instances=2 * demand.instances)
    assert spool_bytes(two, DEFAULTS) <= spool_bytes(demand, DEFAULTS) / 2 + 1


@given(st.floats(0, 1e6), st.floats(0, 1e9))
def test_units_are_the_least_whole_number_that_takes_the_load_in(events, size):
    units = bill(Load(events, size, events), **PRICES).units
    assert units * 1_000 >= events * (1 - 1e-6)
    assert units * 1_000_000 >= size * (1 - 1e-6)
    assert units == 1 or (units - 1) * 1_000 < events or (units - 1) * 1_000_000 < size


@pytest.mark.parametrize(
    ("load", "units"),
    [
        (Load(4_096, 1, 1), 1),
        (Load(4_097, 1, 1), 2),
        (Load(1, 2_000_000, 1), 1),
        (Load(1, 2_000_100, 1), 2),
        (Load(0, 0, 0), 1),
    ],
)
def test_a_unit_gives_4096_events_or_two_megabytes_to_the_reader(load, units):
    assert load.read_units == units


@given(demands, st.sampled_from(SpoolMode))
def test_with_the_settings_that_it_names_nothing_more_is_to_set(demand, spool):
    named = [text.split("=") for text in to_set(demand, replace(DEFAULTS, spool=spool)) if "=" in text]
    reading = read_settings(framework={**dict(named), "EVENTHUB_LOG_SPOOL": str(spool)}.get)
    assert [text for text in to_set(demand, reading.strict().eventhub) if "=" in text] == []


def test_a_value_that_the_setting_does_not_allow_asks_for_more_instances():
    demand = Demand(rate=1e7, record_bytes=1e6, outage_s=86_400)
    [_, size, disk] = to_set(demand, DEFAULTS)
    assert size.startswith("more instances, since EVENTHUB_LOG_QUEUE_BYTES cannot be")
    assert disk.startswith("more instances, since EVENTHUB_LOG_SPOOL_BYTES cannot be")


def test_without_a_spool_the_queue_has_to_hold_the_outage():
    found = as_json(*ASKED, "--outage", "10m", environ={"EVENTHUB_LOG_SPOOL": "memory"})
    names = [text.split("=")[0] for text in found["to_set"]]
    assert names == ["EVENTHUB_LOG_QUEUE_SIZE", "EVENTHUB_LOG_QUEUE_BYTES"]
    assert int(found["to_set"][0].split("=")[1]) >= 5_000 * 600 / 0.9


# What the constants say of the rest of the package


def test_a_record_on_disk_has_the_size_of_its_frame():
    line = b'{"message":"' + b"x" * 500 + b'"}'
    demand = Demand(rate=1, record_bytes=len(line) + SENT_AT_BYTES, outage_s=1)
    hub = replace(DEFAULTS, circuit_breaker_cooldown_seconds=1e-9)
    assert spool_bytes(demand, hub) == math.ceil(len(encode(line)) * (1 + probe_s(demand, hub)))


@pytest.mark.parametrize("outage_s", [1.0, 60.0, 600.0, 86_400.0])
def test_no_probe_comes_later_than_it_says(outage_s):
    now_s = 0.0
    breaker = CircuitBreaker(
        threshold=DEFAULTS.circuit_breaker_threshold,
        cooldown_s=DEFAULTS.circuit_breaker_cooldown_seconds,
        now=lambda: now_s,
        jitter=lambda: 1.0,
    )
    while now_s <= outage_s:
        assert breaker.begin()
        breaker.failed()
        now_s += breaker.wait_s()
    assert now_s - outage_s <= probe_s(Demand(rate=1, record_bytes=100, outage_s=outage_s), DEFAULTS)


def test_the_cpu_of_a_log_call_is_near_the_measured_one():
    written = json.loads((ROOT / "benchmarks" / "results.json").read_text())
    measured = written["parts"]["calls"]["details"]["gzip"]["caller_x_floor"]
    # The ratio does not depend on the load of the machine; the bare call takes 6.1 us on a quiet core.
    assert 0.6 <= CALLER_US / 6.1 / measured <= 1.7


# The command


def test_the_defaults_that_it_quotes_are_those_of_the_settings():
    found = as_json(*ASKED)
    assert (found["queue_records"], found["queue_bytes"], found["spool_bytes"]) == (
        DEFAULTS.max_queue_size,
        DEFAULTS.max_queue_bytes,
        DEFAULTS.spool_max_bytes,
    )
    named = [text.split("=")[0] for text in found["to_set"]]
    assert named == ["EVENTHUB_LOG_SPOOL_BYTES"]
    assert set(named) <= {setting.name for setting in SETTINGS}
    assert (found["outage_s"], found["instances"], found["processes"]) == (600, 1, 1)


def test_the_json_is_what_the_formulas_say():
    found = as_json(*ASKED, "--instances", "3", "--processes", "4", "--outage", "2h")
    demand = Demand(rate=5_000, record_bytes=600, outage_s=7_200, instances=3, processes=4)
    assert found == json.loads(json.dumps(sized(demand, DEFAULTS, **PRICES)))
    assert set(found["packings"]) == set(Packing)


def test_effective_settings_decide_whether_all_fits():
    assert as_json(*ASKED, environ={"EVENTHUB_LOG_SPOOL_BYTES": "4GiB"})["to_set"] == []
    assert "set        nothing" in run(*ASKED, environ={"EVENTHUB_LOG_SPOOL_BYTES": "4GiB"})[1]


@pytest.mark.parametrize(("rate", "mode"), [(1_851, "streaming"), (1_852, "queued")])
def test_streaming_ingestion_is_for_four_gigabytes_an_hour(rate, mode):
    found = as_json("--records-per-second", str(rate), "--bytes", "600")
    assert (found["ingested_gb_per_hour"] <= STREAMING_GB_MAX) == (mode == "streaming")
    assert found["ingestion"] == mode
    assert f"ingestion  {mode}" in run("--records-per-second", str(rate), "--bytes", "600")[1]


def test_a_rate_beyond_one_namespace_says_so():
    assert "40 throughput units at most" not in run(*ASKED)[1]
    assert "40 throughput units at most" in run("--records-per-second", "50000", "--bytes", "600")[1]


def test_prices_are_inputs():
    found = as_json(*ASKED, "--price-tu-hour", "1", "--price-million-events", "0")["packings"]["single"]
    assert found["total"] == found["units"] * 730


def test_a_setting_that_is_invalid_is_status_1():
    status, out, err = run(*ASKED, environ={"EVENTHUB_LOG_QUEUE_SIZE": "many"})
    assert (status, out) == (1, "")
    assert "EVENTHUB_LOG_QUEUE_SIZE" in err
    assert "is many; it must be a whole number" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "required: --records-per-second, --bytes"),
        (["--bytes", "600"], "required: --records-per-second"),
        (
            [*ASKED, "--records-per-second", "-1"],
            "--records-per-second: is '-1'; it must be a number from 0.001",
        ),
        ([*ASKED, "--records-per-second", "nan"], "is 'nan'; it must be a number from 0.001 to 10,000,000."),
        ([*ASKED, "--records-per-second", "1e9"], "is '1e9'; it must be a number from"),
        ([*ASKED, "--records-per-second", "many"], "is 'many'; it must be a number from"),
        ([*ASKED, "--bytes", "99"], "--bytes: is '99'; it must be a number from 100 to 1,000,000."),
        ([*ASKED, "--bytes", "1GB"], "--bytes: is '1GB'; it must be a number from"),
        ([*ASKED, "--outage", "10"], "--outage: '10' is not a duration; it must be like 90s, 30m, 12h or 7d"),
        ([*ASKED, "--outage", "2weeks"], "--outage: '2weeks' is not a duration"),
        ([*ASKED, "--outage", "-10m"], "--outage"),
        ([*ASKED, "--outage", "31d"], "--outage: is '31d'; it must be from 0s to 30d."),
        ([*ASKED, "--instances", "0"], "--instances: is '0'; it must be a whole number from 1 to 10,000."),
        ([*ASKED, "--processes", "1.5"], "--processes: is '1.5'; it must be a whole number from 1 to 1,000."),
        ([*ASKED, "--price-tu-hour", "-0.1"], "--price-tu-hour: is '-0.1'; it must be a number from 0"),
        ([*ASKED, "--rate", "7"], "--rate"),
    ],
)
def test_a_wrong_argument_is_status_2_and_says_what_was_seen_and_what_is_allowed(arguments, said, capsys):
    status, out, _ = run(*arguments)
    assert (status, out) == (2, "")
    assert said in capsys.readouterr().err


def test_the_help_says_what_each_argument_is(capsys):
    assert main(["size", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    for option in ("--records-per-second", "--bytes", "--outage", "--instances", "--processes", "--json"):
        assert option in text
    assert text.count("(required)") == 2
    assert "(default: 10m)" in text


# The page


PAGE = (ROOT / "docs" / "sizing.md").read_text(encoding="utf-8")
SHOWN = re.findall(r"```console\n\$ (.*)\n((?:.*\n)*?)```", PAGE)


def test_the_page_has_an_example():
    assert len(SHOWN) >= 3


@pytest.mark.parametrize(("command", "shown"), SHOWN, ids=[command for command, _ in SHOWN])
def test_the_page_shows_what_the_command_prints(command, shown):
    words = shlex.split(command)
    environ = dict(word.split("=", 1) for word in words[: words.index("hublog")])
    status, out, err = run(*words[words.index("hublog") + 2 :], environ=environ)
    assert (status, err) == (0, "")
    assert shown == out, f"Write it anew: {command}"


def test_every_setting_of_the_page_exists():
    named = set(re.findall(r"\b((?:LOG|FILE|EVENTHUB)_[A-Z_]+)\b", PAGE))
    assert named <= {setting.name for setting in SETTINGS}


def test_every_row_of_the_table_of_examples_is_what_the_command_says():
    rows = [row.strip("| ").split(" | ") for row in PAGE.splitlines() if row.startswith("| `--rec")]
    assert len(rows) >= 4
    for arguments, *cells in rows:
        found = as_json(*shlex.split(arguments.strip("`")))
        gzip = found["packings"]["gzip"]
        assert cells == [
            f"{gzip['units']}",
            f"{gzip['total']:,.0f}",
            f"{gzip['cpu_cores']:.2f}",
            f"{found['queue_lasts_s']:,.0f} s",
            ", ".join(f"`{text}`" for text in found["to_set"]) or "-",
            found["ingestion"],
        ], arguments
