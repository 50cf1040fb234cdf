"""What the tests of relayed websockets share."""

import contextlib

import pytest
from websocket_origin import Client, WebSocketOrigin, echo

from rolo.proxy import ProxyHandler


@pytest.fixture
def relaying(start):
    """Serve a proxy in front of an origin that plays ``play``: ``(url, origin)``."""
    with contextlib.ExitStack() as running:

        def relaying(play=echo, base="", serving=None, **options):
            origin = running.enter_context(WebSocketOrigin(play))
            handler = ProxyHandler(origin.url + base, **options)
            running.callback(handler.close)
            return start(handler, **(serving or {})).url, origin

        yield relaying


@pytest.fixture
def relayed(relaying):
    """Open a websocket through a proxy: ``(client, origin)``."""
    with contextlib.ExitStack() as running:

        def relayed(play=echo, headers=(), serving=None, **options):
            url, origin = relaying(play, serving=serving, **options)
            client = running.enter_context(Client(url, headers=headers))
            return client.open(), origin

        yield relayed
