"""Who may pass is decided at the gate; the upstream only learns who it is.

rolo proxy --script auth_gate.py http://localhost:8080
"""

from rolo import Response
from rolo.proxy.helpers import RequireBasicAuth

ADMINS = {"ada"}


def on_request(context):
    if context.path.startswith("/admin") and context.user not in ADMINS:
        return Response("not for you\n", status=403)


def on_outgoing(context, outbound):
    outbound.headers["X-User"] = context.user


# In front of the functions, which are nearest to the upstream.
hooks = [RequireBasicAuth({"ada": "lovelace", "bob": "builder"})]
