"""Hand-written ``receive`` and ``send`` for tests of ASGI applications without a server."""

import asyncio


def http_scope(**changes):
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/",
        "raw_path": b"/",
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"example.com")],
        "client": ("203.0.113.7", 1234),
        "server": ("127.0.0.1", 80),
        **changes,
    }


def websocket_scope(**changes):
    scope = http_scope(type="websocket", scheme="ws", subprotocols=[], **changes)
    del scope["method"]
    return scope


class Call:
    """One ASGI call: receives ``events`` in order, then what is put later, then waits."""

    def __init__(self, *events):
        self.events = asyncio.Queue()
        for event in events:
            self.events.put_nowait(event)
        self.sent = []
        self.sending = asyncio.Condition()

    async def receive(self):
        return await self.events.get()

    async def send(self, event):
        async with self.sending:
            self.sent.append(event)
            self.sending.notify_all()

    async def until_sent(self, kind):
        async with asyncio.timeout(5), self.sending:
            await self.sending.wait_for(lambda: any(e["type"] == kind for e in self.sent))

    @property
    def body(self):
        return b"".join(e["body"] for e in self.sent if e["type"] == "http.response.body")

    @property
    def head(self):
        return next(e for e in self.sent if e["type"] == "http.response.start")


def body(*pieces, more=False):
    """Return request events; the last ends the body unless ``more``."""
    last = len(pieces) - 1
    return [
        {"type": "http.request", "body": piece, "more_body": more or n < last}
        for n, piece in enumerate(pieces)
    ]
