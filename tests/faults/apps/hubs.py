"""Logs to several event hubs by turns: ``hubs COUNT HUB ...``; ends when it is told so on standard input.

Each record carries the event hub that it is for in its id, behind the name of this life.
"""

import logging
import os
import sys

import probe

import hublog

count, hubs = int(sys.argv[1]), sys.argv[2:]
name = os.environ.get("FAULTS_NAME", f"hubs-{os.getpid()}")
loggers = {hub: logging.getLogger(f"faults.{hub}") for hub in hubs}
for hub, logger in loggers.items():
    logger.addHandler(hublog.EventHubHandler(eventhub_name=hub))
    logger.propagate = False
for number in range(count):
    for hub, logger in loggers.items():
        id_ = f"{name}-{number}@{hub}"
        logger.info("record %s", id_, extra={probe.ID: id_})
        probe.note(id_)
print("all logged", flush=True)
sys.stdin.readline()
