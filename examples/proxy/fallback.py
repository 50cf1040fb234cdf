"""A second upstream for when the first cannot be reached, is busy or fails, and a page for
when neither helps.

SECOND=http://localhost:8081 rolo proxy --script fallback.py http://localhost:8080
"""

import os

from rolo import Response

SECOND = os.environ["SECOND"]


def on_response(context, response):
    if response.status in (502, 503, 504) and context.tries == 1 and context.can_retry():
        context.retry(SECOND)


def on_error(context, error):
    if context.tries == 1 and context.can_retry():
        context.retry(SECOND)
        return None
    return Response(f"We will be back soon ({getattr(error, 'status', 500)}).\n", status=503)


def on_finished(context):
    print(f"{context.outcome} by {context.upstream} in {context.seconds:.3f} s", flush=True)
