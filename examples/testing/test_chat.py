"""A client of a websocket, and a script that it has to keep to."""

import websocket

from rolo.harness import close, expect, send


def greet(url):
    """The code under test."""
    client = websocket.create_connection(url, timeout=5)
    try:
        name = client.recv()
        client.send(f"hello, {name}")
        return client.recv()
    finally:
        client.shutdown()


def test_the_client_greets(harness):
    api = harness()
    api.websocket("/chat").plays(send("rolo"), expect("hello, rolo"), send("welcome"), close())

    assert greet(f"ws://{api.host}:{api.port}/chat") == "welcome"
