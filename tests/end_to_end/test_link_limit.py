import json

import pytest

from hublog_local import LocalHub
from hublog_local.hub.local_hub import BASIC_MESSAGE_BYTES

#: 4,000 records of about 1 KB, half of it random, so that they hardly compress; and many small ones.
PROGRAM = """
import logging, random, hublog
draw = random.Random(5)
hublog.setup_logging()
log = logging.getLogger("shop")
for number in range(4000):
    log.info("record %d %s", number, draw.randbytes(200).hex() if number % 2 else "")
    if number % 1000 == 999:
        assert hublog.flush(30)
"""


@pytest.mark.parametrize("packing", ["single", "lines", "gzip"])
def test_no_event_exceeds_the_limit_of_the_basic_tier_and_all_arrive(run, packing):
    with LocalHub({"application-logs": 1}, max_message_bytes=BASIC_MESSAGE_BYTES) as hub:
        program = run(
            PROGRAM,
            connection=hub.connection_string(),
            EVENTHUB_LOG_PACKING=packing,
            FILE_LOGGING_ENABLED="false",
        )
        assert (program.process.returncode, program.errors) == (0, "")
        events = hub.events("application-logs")
        assert hub.recent_errors() == []
    assert max(len(event.body) for event in events) < BASIC_MESSAGE_BYTES
    if packing == "lines":
        assert max(len(event.body) for event in events) > BASIC_MESSAGE_BYTES * 0.9, "the limit was learnt"
        found = [json.loads(line)["message"] for event in events for line in event.body.splitlines()]
        assert len(found) == len(set(found)) == 4000
