from demo.drill import ROOT, Watch, scaled


def test_a_rule_has_a_second_for_each_minute():
    rule = "expr: increase(hublog_oldest_record_age_seconds[15m]) > 600\nfor: 5m\n"
    assert scaled(rule) == "expr: increase(hublog_oldest_record_age_seconds[15s]) > 600\nfor: 5s\n"
    assert scaled("hublog_oldest_record_age_seconds > 600") == "hublog_oldest_record_age_seconds > 10"
    assert scaled("let within = 1h;") == "let within = 60s;"


def test_no_time_of_the_alarms_is_left_as_it_is():
    for path in (ROOT / "observability").glob("**/alarms*/*.kql"):
        assert path.read_text() != scaled(path.read_text())
    text = scaled((ROOT / "observability" / "prometheus" / "alarms.yaml").read_text())
    assert "seconds > 10\n" in text
    assert "[10s])) > 5\n" in text


def test_an_alarm_is_seen_first_when_it_fires_and_last_when_it_clears():
    watch = Watch()
    for firing, now_s in (({"a"}, 1), ({"a", "b"}, 2), ({"b"}, 3), ({"a", "b"}, 4), (set(), 5)):
        watch.see(firing, now_s)
    assert (watch.fired, watch.cleared, watch.firing) == ({"a": 1, "b": 2}, {"a": 5, "b": 5}, set())
