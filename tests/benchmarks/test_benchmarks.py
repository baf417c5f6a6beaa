import json

import benchmarks.__main__ as benchmarks


def test_a_short_run_writes_all_figures_under_their_names(tmp_path):
    path = tmp_path / "results.json"
    assert benchmarks.main(["--runs", "1", "--quick", "--json", str(path)]) == 0
    written = json.loads(path.read_text())
    assert set(written["figures"]) == {
        "caller_x_floor",
        "total_x_floor",
        "burst_lost",
        "burst_per_s",
        "events_per_1000",
        "wire_bytes_per_record",
    }
    assert written["figures"]["burst_lost"] == 0


def test_one_event_per_record_costs_a_thousand_events_per_thousand_records():
    found = benchmarks.run(benchmarks.Packing.SINGLE, quick=True)
    assert found["events_per_1000"] == 1_000
