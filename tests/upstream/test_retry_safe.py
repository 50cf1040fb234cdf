"""Which failures leave a request that can be sent again: the error says so, truthfully."""

import asyncio

import pytest

from rolo import errors
from rolo.net.body import Upload
from rolo.upstream.blocking_transport import SyncTransport
from rolo.upstream.request import UpstreamRequest
from rolo.upstream.settings import Timeouts
from rolo.upstream.transport import LoopTransport
from rolo.wire.target import Origin
from tests.origins import run, scripted_origin, silent


class Pieces(Upload):
    """A body that is pulled, by either transport."""

    def __init__(self):
        self.left = [b"body"]

    async def receive_body(self):
        return self.left.pop() if self.left else b""

    def __iter__(self):
        while self.left:
            yield self.left.pop()


async def close(wire):
    await wire.head()


def saying(data):
    async def script(wire):
        await wire.head()
        await wire.send(data)

    return script


EARLY = saying(b"HTTP/1.1 103 Early Hints\r\n\r\n")
MALFORMED = saying(b"nonsense\r\n\r\n")


async def send(mode, request):
    timeouts = Timeouts(response=0.1)
    if mode == "blocking":
        with SyncTransport(timeouts=timeouts) as client:
            await asyncio.to_thread(client.send, request)
    else:
        transport = LoopTransport(timeouts=timeouts)
        try:
            await transport.send(request)
        finally:
            await transport.close()


@pytest.mark.parametrize("mode", ["loop", "blocking"])
@pytest.mark.parametrize(
    ("script", "method", "body", "kind", "safe"),
    [
        pytest.param(close, "GET", None, errors.UpstreamClosed, True, id="closed"),
        pytest.param(close, "POST", b"body", errors.UpstreamClosed, False, id="closed, POST"),
        pytest.param(close, "PUT", b"body", errors.UpstreamClosed, True, id="closed, PUT"),
        pytest.param(close, "PUT", Pieces, errors.UpstreamError, False, id="body is gone"),
        pytest.param(silent, "GET", None, errors.ResponseHeadTimeout, True, id="silent"),
        pytest.param(silent, "POST", b"", errors.ResponseHeadTimeout, False, id="silent, POST"),
        pytest.param(saying(b"H"), "GET", None, errors.UpstreamClosed, False, id="a byte came"),
        pytest.param(EARLY, "GET", None, errors.UpstreamClosed, False, id="hints came"),
        pytest.param(MALFORMED, "GET", None, errors.BadResponse, False, id="malformed"),
        pytest.param(None, "POST", Pieces, errors.ConnectError, True, id="refused, POST"),
    ],
)
def test_an_error_says_whether_a_retry_is_safe(mode, script, method, body, kind, safe):
    async def test():
        async with scripted_origin(script or close) as origin:
            request = UpstreamRequest(
                Origin("http", origin.host, origin.port if script else 1),
                method,
                b"/",
                [(b"Host", b"origin")],
                body=body() if body is Pieces else body,
            )
            with pytest.raises(kind) as caught:
                await send(mode, request)
        assert caught.value.retry_safe is safe

    run(test)
