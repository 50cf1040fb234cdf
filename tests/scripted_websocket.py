"""A server's side of a websocket that plays a script and notes what it is asked."""

from werkzeug.test import EnvironBuilder

from rolo.websocket.adapter import WebSocketAdapter


class ScriptedAdapter(WebSocketAdapter):
    """:param events: what ``receive`` gives in turn; an exception is raised"""

    last_received_at = 12.5

    def __init__(self, events=()):
        self.events = list(events)
        self.calls = []
        self.headers = None
        self.timeouts = []

    def accept(self, subprotocol=None, extensions=None, extra_headers=None, timeout=None):
        self.calls.append(("accept", subprotocol))
        self.headers = extra_headers
        self.timeouts.append(timeout)

    def reject(self, status_code, headers=None, body=None, timeout=None):
        self.calls.append(("reject", status_code, b"".join(body or ())))
        self.headers = headers

    def receive(self, timeout=None):
        self.timeouts.append(timeout)
        event = self.events.pop(0)
        if isinstance(event, Exception):
            raise event
        return event

    def send(self, event, timeout=None):
        self.calls.append(("send", event.data))
        self.timeouts.append(timeout)

    def close(self, code=1001, reason=None, timeout=None):
        self.calls.append(("close", code, reason))


def environment(adapter, path="/", key="rolo.websocket", **extra):
    environ = EnvironBuilder(path, headers={"Host": "h"}).get_environ()
    environ.update({"REQUEST_METHOD": "WEBSOCKET", key: adapter, **extra})
    return environ
