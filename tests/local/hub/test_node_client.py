"""The official JavaScript package, in Node.js: a second client that shares no code with the first."""

import json
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from azure.eventhub import EventData
from tests.kits.node import node_with_packages

FOLDER = Path(__file__).parents[1] / "node_client"


@pytest.fixture(scope="session")
def node():
    """Return the command that runs the script."""
    return [node_with_packages(FOLDER), str(FOLDER / "roundtrip.js")]


def test_the_lock_names_no_registry():
    lock = (FOLDER / "package-lock.json").read_text()
    assert re.findall(r"https?://[^\"]*(?:registry|npm)[^\"]*", lock) == []
    assert '"resolved"' not in lock


@pytest.fixture
def seen(make_hub, make_producer, node):
    """What JavaScript saw of two events of Python's, and the hub with what it wrote."""
    hub = make_hub(keys={"policy": "secret"})
    producer = make_producer(hub)
    event = EventData("from python é")
    event.properties = {"number": 5, "text": "é", "yes": True}
    producer.send_batch([event], partition_key="user-7")
    producer.send_batch([EventData("x" * 900_000)])
    hub.wait_for(2)
    run = subprocess.run(
        [*node, hub.connection_string(), "logs"], capture_output=True, text=True, timeout=100, check=False
    )
    assert run.returncode == 0, run.stderr + str(hub.recent_errors())
    return hub, json.loads(run.stdout)


def test_javascript_reads_and_writes_what_python_does(seen, subscribe):
    hub, found = seen
    assert found["properties"] == {"name": "logs", "partitionIds": ["0", "1"]}
    read = sorted(found["read"], key=lambda event: event["size"])
    stored = {event.body[:20]: event for event in hub.events()}
    small = stored["from python é".encode()]
    assert [event["size"] for event in read] == [14, 900_000]
    assert read[0]["text"] == "from python é"
    assert read[0]["properties"] == {"number": 5, "text": "é", "yes": True}
    assert (read[0]["partitionKey"], read[0]["partitionId"]) == ("user-7", small.partition_id)
    assert (read[0]["sequenceNumber"], read[0]["offset"]) == (small.sequence_number, small.offset)
    assert datetime.fromtimestamp(read[0]["enqueuedAt"] / 1000, UTC) == small.enqueued_at

    assert found["fresh"]
    assert all(text.startswith("probe ") for text in found["fresh"])

    assert found["maxSizeInBytes"] == 1 << 20
    batch = [event for event in hub.events() if event.body.startswith(b"batch")]
    assert [event.body.decode() for event in batch] == [f"batch {number}" for number in range(10)]
    assert {event.partition_key for event in batch} == {"user-7"}
    assert {event.partition_id for event in batch} == {small.partition_id}
    assert batch[3].properties == {"number": 3, "yes": True, "text": "é"}
    assert batch[3].content_type == "text/plain"
    large = [event for event in hub.events() if event.body == b"x" * 900_000 and event.partition_id == "1"]
    assert large
    assert found["partition"] == {"isEmpty": False, "last": hub.events()[-1].sequence_number}
    assert hub.recent_errors() == []

    bodies = subscribe(hub, starting_position="-1").wait(len(hub.events()))
    assert sorted(bodies) == sorted(event.body.decode() for event in hub.events())
