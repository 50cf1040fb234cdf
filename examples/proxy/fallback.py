"""A second upstream for when the first cannot be reached, and a page for when neither can.

SECOND=http://localhost:8081 rolo proxy --script fallback.py http://localhost:8080
"""

import os

from rolo import Response

SECOND = os.environ["SECOND"]


def on_connect_failed(context, error):
    if str(context.upstream) != SECOND:
        context.upstream = SECOND


def on_error(context, error):
    return Response(f"We will be back soon ({error.status}).\n", status=503)


def on_finished(context):
    print(f"{context.outcome} by {context.upstream} in {context.seconds:.3f} s", flush=True)
