"""Each request also goes to the next version of a service; the client waits for none of it.

NEXT=http://localhost:8081 rolo proxy --script mirror_and_compare.py http://localhost:8080
"""

import os

from rolo.proxy.helpers import Mirror


def compare(context, ours, theirs):
    if (ours.status, ours.body) == (theirs.status, theirs.body):
        print(f"same: {context.request.path}", flush=True)
    else:
        print(
            f"different: {context.request.path}: {ours.status} {ours.body!r}, "
            f"next version {theirs.status} {theirs.body!r}",
            flush=True,
        )


hooks = [Mirror(os.environ["NEXT"], compare)]
