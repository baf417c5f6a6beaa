"""The WSGI application: a Flask app that logs five records with ids before it answers."""

import os
import time

import probe  # before hublog: its exit hook must run last
import touched  # noqa: F401  # a reloader watches it
from flask import Flask, request

from hublog.flask import HubLog

app = Flask(__name__)
HubLog(app)
probe.send_ours_alone()
for made in range(int(os.environ.get("FAULTS_AT_IMPORT", "0"))):
    probe.write(f"import-{os.getpid()}-{made}")


@app.get("/work")
def work():
    """Log, then hold the request as long as asked, then answer."""
    name = request.args["id"]
    for number in range(request.args.get("records", 5, type=int)):
        probe.call(f"{name}.{number}", "record %d of %s", number, name)
    for number in range(request.args.get("burst", 0, type=int)):
        probe.write(f"{name}.burst{number}")
    time.sleep(request.args.get("sleep", 0.0, type=float))
    return "ok"


@app.get("/ping")
def ping():
    """Answer without a record."""
    return "ok"
