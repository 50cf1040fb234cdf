"""A tap that records exchanges as lines of JSON; what passes stays untouched.

rolo proxy --script recording_tap.py http://localhost:8080
"""

import json
import sys


def on_outgoing(context, outbound):
    context.sent = []
    outbound.tap(context.sent.append)


def on_response(context, response):
    context.received = []
    context.status = response.status
    response.tap(context.received.append)


def on_finished(context):
    record = {
        "request": f"{context.request.method} {context.request.full_path}",
        "sent": b"".join(context.get("sent") or []).decode("latin-1"),
        "status": context.get("status"),
        "received": b"".join(context.get("received") or []).decode("latin-1"),
        "outcome": context.outcome,
        "seconds": round(context.seconds, 6),
    }
    print(json.dumps(record), file=sys.stdout, flush=True)
